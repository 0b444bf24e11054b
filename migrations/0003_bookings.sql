-- What the agency expects and by when, and which bookings wait for a final status. docs/bookings.md describes it.

alter table bookings
    add column expected_by timestamptz check (expected_by >= '1970-01-01 00:00+00' and expected_by < '10000-01-01 00:00+00'),
    add column announced_at timestamptz not null default now()
        check (announced_at >= '1970-01-01 00:00+00' and announced_at < '10000-01-01 00:00+00'),
    add column noted_expected_by timestamptz,
    add column is_settled boolean not null default false;

comment on table bookings is 'The bookings that the agency expects, announced over HTTP or in plain SQL. Providers with unknown_booking = "reject" accept deliveries for no other bookings.';
comment on column bookings.expected_by is 'When the booking is to have a final status; null for no deadline. Past it without one, the booking is overdue.';
comment on column bookings.announced_at is 'When it was announced.';
comment on column bookings.noted_expected_by is 'The service''s own: the expected_by for which the feed has an overdue item. Another expected_by may become overdue again.';
comment on column bookings.is_settled is 'The service''s own: the booking has a final status, so expected_by needs no look. Written within seconds of the delivery.';

-- those whose expected_by has passed are the due and the overdue ones: all others are settled
create index bookings_unsettled on bookings (expected_by) where expected_by is not null and not is_settled;
create index bookings_announced on bookings (announced_at);

-- Bookings whose state is pending, confirmed or partially_ticketed. src/bookings.rs says why and how it is filled.
create table open_bookings (
    provider         text not null,
    environment      text not null,
    booking_ref      text not null,
    last_received_at timestamptz not null,
    primary key (provider, environment, booking_ref)
);

create index open_bookings_silent on open_bookings (last_received_at);

comment on table open_bookings is 'The bookings without a final status (pending, confirmed, partially_ticketed), filled from the feed by the consumer bookings within seconds: the candidates for being stuck.';
comment on column open_bookings.provider is 'As in ticket_events.';
comment on column open_bookings.environment is 'As in ticket_events.';
comment on column open_bookings.booking_ref is 'As in ticket_events.';
comment on column open_bookings.last_received_at is 'last_received_at of the state when the revision was read from the feed; duplicates do not move it.';

comment on table consumers is 'Named positions in the feed. search and bookings are the service''s own.';

-- One row for each booking that is expected or has events: each with events has a revision 1. `is_open` is null without
-- events. By key every part of it is an index lookup, also in a join: Postgres hands the condition of a join down into a
-- `union all` of whole tables only, so what is doubled is left out behind it. In the order of the key it can be read in pages.
create view booking_states as
select
    booking.provider,
    booking.environment,
    booking.booking_ref,
    expected.booking_ref is not null as is_expected,
    expected.expected_by,
    expected.announced_at,
    coalesce(expected.expected_by < now(), false)
        and (state.status is null or state.status = any ('{pending,confirmed,partially_ticketed}')) as is_overdue,
    state.status = any ('{pending,confirmed,partially_ticketed}') as is_open,
    state.id as event_id,
    state.account,
    state.revision,
    state.status,
    state.pnr,
    state.gds_pnr,
    state.airline_pnrs,
    state.booking_number,
    state.remark,
    state.passengers,
    state.ticket_numbers,
    -- in the order in which they were first reported
    array(
        select number
        from ticket_events as event, unnest(event.ticket_numbers) with ordinality as ticket (number, position)
        where event.provider = booking.provider
        and event.environment = booking.environment
        and event.booking_ref = booking.booking_ref
        group by number
        order by min(array[event.revision, position])
    ) as all_ticket_numbers,
    (
        select min(event.received_at) from ticket_events as event
        where event.provider = booking.provider
        and event.environment = booking.environment
        and event.booking_ref = booking.booking_ref
    ) as first_received_at,
    (
        select max(event.last_received_at) from ticket_events as event
        where event.provider = booking.provider
        and event.environment = booking.environment
        and event.booking_ref = booking.booking_ref
    ) as last_received_at,
    (
        select count(*)::integer from ticket_events as event
        where event.provider = booking.provider
        and event.environment = booking.environment
        and event.booking_ref = booking.booking_ref
    ) as revisions
from (
    select provider, environment, booking_ref, revision, true as has_events from ticket_events
    union all
    select provider, environment, booking_ref, null, false from bookings
) as booking
left join bookings as expected using (provider, environment, booking_ref)
left join lateral (
    select *
    from ticket_events as event
    where event.provider = booking.provider
    and event.environment = booking.environment
    and event.booking_ref = booking.booking_ref
    and not event.late
    order by event.revision desc
    limit 1
) as state on true
where booking.has_events and booking.revision = 1
or not booking.has_events and not exists (
    select from ticket_events as event
    where event.provider = booking.provider
    and event.environment = booking.environment
    and event.booking_ref = booking.booking_ref
    and event.revision = 1
);

comment on view booking_states is 'The state of every booking that is expected or has events: its newest revision that is not late. Ask by provider, environment and booking_ref together; everything else reads many rows.';

-- The first transaction of a generation that recorded an event at a time or later; the one behind the newest when there is
-- none. Bisects: times of recording rise with the transactions, but for those that ran at the same time.
create function ticket_feed_xid_at(in_generation integer, at timestamptz) returns xid8
language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint := 0;
    middle bigint;
    is_before boolean;
begin
    select recorded_xid::text::bigint + 1 into high from ticket_events
    where generation = in_generation order by recorded_xid desc, sequence desc limit 1;
    if high is null then
        return '0'::xid8;
    end if;
    while low < high loop
        middle := (low + high) / 2;
        select item.recorded_at < at into is_before
        from (
            select recorded_at from ticket_events
            where generation = in_generation and recorded_xid >= middle::text::xid8
            order by recorded_xid, sequence limit 1
        ) as item;
        if coalesce(is_before, false) then low := middle + 1; else high := middle; end if;
    end loop;
    return low::text::xid8;
end
$$;

-- The events that were recorded in a time, at most so many of the newest of each generation. Found by the index of the feed:
-- an index on the time would cost every delivery.
create function events_recorded_between(from_time timestamptz, to_time timestamptz, max_events integer)
returns table (
    id uuid, provider text, environment text, booking_ref text, status text, previous_status text, ticket_numbers text[],
    recorded_at timestamptz
)
language plpgsql stable rows 10000 as $$
#variable_conflict use_column
begin
    return query
    select event.*
    from feed_generations
    cross join lateral (
        select id, provider, environment, booking_ref, status, previous_status, ticket_numbers, recorded_at
        from ticket_events
        where generation = feed_generations.generation
        and recorded_xid >= ticket_feed_xid_at(feed_generations.generation, from_time - interval '1 minute')
        and recorded_xid < ticket_feed_xid_at(feed_generations.generation, to_time + interval '1 minute')
        and recorded_at >= from_time and recorded_at < to_time
        order by recorded_xid desc, sequence desc
        limit max_events
    ) as event;
end
$$;
