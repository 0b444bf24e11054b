-- {events} events of {events} / 3 bookings, received one a minute, with their search keys.
alter table search_keys drop constraint search_keys_pkey;

insert into ticket_events (id, provider, account, environment, booking_ref, revision, status, airline_pnrs, pnr, passengers,
    ticket_numbers, warnings, payload, content_hash, received_at, last_received_at, generation, recorded_xid, sequence)
select
    ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
    (array['booking_callback', 'order_ticketed', 'ticket_status_update'])[1 + n / 3 % 3],
    'main',
    case when n / 3 % 10 = 0 then 'test' else 'live' end,
    'B-' || n / 3,
    1 + n % 3,
    case
        when n % 100000 = 0 then 'aborted'
        else (array['pending', 'confirmed', 'ticketed', 'ticketed', 'partially_ticketed', 'failed'])[1 + n % 6]
    end,
    '{}',
    'P' || n / 3,
    jsonb_build_array(jsonb_build_object('first_name', 'First' || n % 2000, 'last_name', 'Last' || n % 30011, 'tickets', '[]'::jsonb)),
    array[(2400000000 + n)::text],
    '{}', '{}', '\x0000000000000000000000000000000000000000000000000000000000000000',
    timestamptz '2020-01-01' + n * interval '1 minute',
    timestamptz '2020-01-01' + n * interval '1 minute',
    -- an older generation: its transaction ids are compared with none of this cluster
    0,
    (10 + n / 100)::text::xid8,
    n
from generate_series(1, {events}) as n;

insert into search_keys (kind, key, generation, recorded_xid, sequence, received_at)
select keys.kind, keys.key, event.generation, event.recorded_xid, event.sequence, event.received_at
from ticket_events as event
cross join lateral (values
    ('class', event.environment || '/' || event.provider || '/' || event.status),
    ('pnr', event.pnr),
    ('ticket', event.ticket_numbers[1]),
    ('name', 'first' || event.sequence % 2000),
    ('name', 'last' || event.sequence % 30011)
) as keys (kind, key);

alter table search_keys add primary key (kind, key, generation, recorded_xid, sequence);

update consumers set
    position = (
        select ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at)
        from ticket_events order by sequence desc limit 1
    )
where name = 'search';

vacuum analyze ticket_events;
vacuum analyze search_keys;
