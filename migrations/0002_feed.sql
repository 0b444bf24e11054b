-- The feed: every item once, in an order that never changes. docs/consumers.md describes it, src/feed.rs its invariants.

-- Clusters in which this database has lived. Transaction ids can be compared within a generation only.
create table feed_generations (
    generation        integer primary key,
    system_identifier bigint,
    started_at        timestamptz not null default now()
);

comment on table feed_generations is 'The clusters in which this database has lived: one row for each, the current one last. `ticket-webhooks migrate` adds a row after a dump was restored into another cluster.';
comment on column feed_generations.generation is 'As in ticket_events.';
comment on column feed_generations.system_identifier is 'The identifier of the cluster (pg_control_system).';
comment on column feed_generations.started_at is 'When the database was first migrated there.';

insert into feed_generations (generation, system_identifier) select 1, system_identifier from pg_control_system();

-- Items of the feed that are no revision.
create table feed_notices (
    id           uuid primary key default gen_random_uuid(),
    type         text not null check (type in ('erased', 'overdue')),
    provider     text not null,
    environment  text not null check (environment in ('test', 'live')),
    booking_ref  text not null,
    event_id     uuid check ((event_id is not null) = (type = 'erased')),
    expected_by  timestamptz check ((expected_by is not null) = (type = 'overdue')),
    status       text,
    recorded_at  timestamptz not null default now(),
    generation   integer not null default 1,
    recorded_xid xid8 not null default pg_current_xact_id(),
    sequence     bigint not null default nextval('ticket_feed_sequence')
);

create index feed_notices_feed on feed_notices (generation, recorded_xid, sequence);

comment on table feed_notices is 'Items of the feed beside the revisions: a booking became overdue, the personal data of an event was erased. Insert them in the first write of a transaction only, as events.';
comment on column feed_notices.id is 'The id of the item.';
comment on column feed_notices.type is 'overdue: the booking has no final status although its expected_by has passed. erased: the personal data of the event was removed.';
comment on column feed_notices.provider is 'As in ticket_events.';
comment on column feed_notices.environment is 'As in ticket_events.';
comment on column feed_notices.booking_ref is 'As in ticket_events.';
comment on column feed_notices.event_id is 'The event whose personal data was erased; null for overdue.';
comment on column feed_notices.expected_by is 'Of an overdue booking: when it was expected; null for erased.';
comment on column feed_notices.status is 'Of an overdue booking: its status then, null when nothing had come; null for erased.';
comment on column feed_notices.recorded_at is 'When this row was written.';
comment on column feed_notices.generation is 'As in ticket_events.';
comment on column feed_notices.recorded_xid is 'As in ticket_events.';
comment on column feed_notices.sequence is 'As in ticket_events: one sequence for both tables.';

-- The positions of consumers that keep them here.
create table consumers (
    name       text primary key,
    position   text not null,
    updated_at timestamptz not null default now()
);

comment on table consumers is 'Named positions in the feed. search is the service''s own.';
comment on column consumers.name is 'Chosen by the consumer.';
comment on column consumers.position is 'The cursor up to which it has processed the feed.';
comment on column consumers.updated_at is 'When it was moved last.';

-- The current generation.
create function ticket_feed_generation() returns integer
language sql stable parallel safe
return (select max(generation) from feed_generations);

-- The cursor of a row: generation, transaction, sequence, the end of the id, the time of recording in microseconds.
create function ticket_feed_cursor(generation integer, recorded_xid xid8, sequence bigint, id uuid, recorded_at timestamptz)
returns text
language sql immutable parallel safe
return generation || '.' || recorded_xid::text || '.' || sequence || '.' || right(id::text, 8) || '.'
    || (extract(epoch from recorded_at) * 1000000)::bigint;

-- The cursor of the last item below a position; the cursor of the start where there is none. `below_generation` and
-- `below_xid` are not included.
create function ticket_feed_last_cursor(below_generation integer, below_xid xid8) returns text
language sql stable
return coalesce((
    select ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at)
    from (
        (select generation, recorded_xid, sequence, id, recorded_at from ticket_events
         where (generation, recorded_xid) < (below_generation, below_xid)
         order by generation desc, recorded_xid desc, sequence desc limit 1)
        union all
        (select generation, recorded_xid, sequence, id, recorded_at from feed_notices
         where (generation, recorded_xid) < (below_generation, below_xid)
         order by generation desc, recorded_xid desc, sequence desc limit 1)
    ) as item
    order by generation desc, recorded_xid desc, sequence desc
    limit 1
), '0.0.0.00000000.0');

-- The cursor to go back to when the row of `after` is not what it was: that of the last item before the first one that was
-- recorded after the row of `after`. What the cursor's history and the present one have in common is up to there; the
-- clock of Postgres may have been a minute behind. Bisects by transaction: times of recording rise with it.
create function ticket_feed_common_cursor(in_generation integer, until_xid xid8, recorded_at timestamptz) returns text
language plpgsql stable as $$
declare
    low bigint := 0;
    high bigint := until_xid::text::bigint;
    middle bigint;
    is_before boolean;
begin
    while low < high loop
        middle := (low + high) / 2;
        select item.recorded_at <= ticket_feed_common_cursor.recorded_at - interval '1 minute' into is_before
        from (
            select ticket_events.recorded_xid, ticket_events.sequence, ticket_events.recorded_at from ticket_events
            where generation = in_generation and recorded_xid >= middle::text::xid8
            order by recorded_xid, sequence limit 1
        ) as item;
        if coalesce(is_before, false) then low := middle + 1; else high := middle; end if;
    end loop;
    return ticket_feed_last_cursor(in_generation, low::text::xid8);
end
$$;

-- The position of a cursor, checked.
--
-- Errors: 22023 not a cursor. TWF01 the history has changed: the detail is the cursor to go back to. TWF02 the database was
-- restored into another cluster, and its generation not raised.
create function ticket_feed_position(
    after text, out generation integer, out recorded_xid xid8, out sequence bigint
)
language plpgsql stable as $$
declare
    parts text[];
    recorded timestamptz;
    is_known boolean;
begin
    if ticket_feed_is_misplaced() then
        raise exception 'the database was restored into another cluster: run `ticket-webhooks migrate`' using errcode = 'TWF02';
    end if;
    parts := regexp_match(
        after, '^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,17})\.(0|[1-9]\d{0,17})\.([0-9a-f]{8})\.(0|[1-9]\d{0,17})$'
    );
    if parts is null then
        raise exception 'not a cursor of this feed' using errcode = '22023';
    end if;
    generation := parts[1]::integer;
    recorded_xid := parts[2]::xid8;
    sequence := parts[3]::bigint;
    if after = '0.0.0.00000000.0' then
        return;
    end if;
    select exists (
        select from ticket_events as event
        where (event.generation, event.recorded_xid, event.sequence)
            = (ticket_feed_position.generation, ticket_feed_position.recorded_xid, ticket_feed_position.sequence)
        and ticket_feed_cursor(event.generation, event.recorded_xid, event.sequence, event.id, event.recorded_at) = after
    ) or exists (
        select from feed_notices as notice
        where (notice.generation, notice.recorded_xid, notice.sequence)
            = (ticket_feed_position.generation, ticket_feed_position.recorded_xid, ticket_feed_position.sequence)
        and ticket_feed_cursor(notice.generation, notice.recorded_xid, notice.sequence, notice.id, notice.recorded_at) = after
    ) into is_known;
    if not is_known then
        recorded := to_timestamp(0) + parts[5]::bigint * interval '1 microsecond';
        raise exception 'the history of the feed has changed' using
            errcode = 'TWF01',
            detail = case
                when generation <= ticket_feed_generation()
                then ticket_feed_common_cursor(generation, recorded_xid, recorded)
                else ticket_feed_common_cursor(ticket_feed_generation(), pg_snapshot_xmax(pg_current_snapshot()), recorded)
            end,
            hint = 'Go on from the cursor in the detail: items may come again, none is missed.';
    end if;
end
$$;

-- Whether the current generation is another cluster's: its identifier differs, or it has transactions of the future. Looks
-- at the newest item only: the planner expects a third of all rows behind a comparison, and would read the whole table.
create function ticket_feed_is_misplaced() returns boolean
language sql stable
return (
    select system_identifier is distinct from (select system_identifier from pg_control_system())
    from feed_generations where generation = ticket_feed_generation()
) or exists (
    select from (
        select generation, recorded_xid from ticket_events order by generation desc, recorded_xid desc limit 1
    ) as newest
    where (generation, recorded_xid) >= (ticket_feed_generation(), pg_snapshot_xmax(pg_current_snapshot()))
) or exists (
    select from (
        select generation, recorded_xid from feed_notices order by generation desc, recorded_xid desc limit 1
    ) as newest
    where (generation, recorded_xid) >= (ticket_feed_generation(), pg_snapshot_xmax(pg_current_snapshot()))
);

-- All items, in the columns of ticket_events and those of the notices.
create view feed_items as
select
    'revision' as type, id, null::uuid as event_id, provider, account, environment, booking_ref, revision, late, status,
    previous_status, pnr, gds_pnr, airline_pnrs, booking_number, trace_id, provider_status, remark, passengers,
    ticket_numbers, warnings, payload, content_hash, received_at, recorded_at, last_received_at, delivery_count,
    null::timestamptz as expected_by, generation, recorded_xid, sequence
from ticket_events
union all
select
    type, id, event_id, provider, null, environment, booking_ref, null, null, status,
    null, null, null, null, null, null, null, null, null,
    null, null, null, null, null, recorded_at, null, null,
    expected_by, generation, recorded_xid, sequence
from feed_notices;

comment on view feed_items is 'Everything that the feed gives, without its rules: read the function ticket_feed instead.';

-- The items after a position that are given out, in the order of the feed. Each kind is read by its own index up to the
-- limit: the planner expects next to nothing behind a position, and would sort all that is there. Such a function is
-- inlined where it is used, so only the columns that are used are read.
create function ticket_feed_items(after_generation integer, after_xid xid8, after_sequence bigint, max_items bigint)
returns setof feed_items
language sql stable
begin atomic
    select *
    from (
        (select * from feed_items
         where type = 'revision'
         and (generation, recorded_xid, sequence) > (after_generation, after_xid, after_sequence)
         and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
         order by generation, recorded_xid, sequence limit max_items)
        union all
        (select * from feed_items
         where type <> 'revision'
         and (generation, recorded_xid, sequence) > (after_generation, after_xid, after_sequence)
         and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
         order by generation, recorded_xid, sequence limit max_items)
    ) as item
    order by generation, recorded_xid, sequence
    limit max_items;
end;

comment on function ticket_feed_items is 'The items after a position, which is not checked: use the function ticket_feed.';

-- The next items after a cursor, in the order of the feed; `0.0.0.00000000.0` is the start. `cursor` is the cursor of each
-- row: keep the last one. Errors as of ticket_feed_position.
create function ticket_feed(after text, max_items integer default 100)
returns table (
    cursor text, type text, id uuid, event_id uuid, provider text, account text, environment text, booking_ref text,
    revision integer, late boolean, status text, previous_status text, pnr text, gds_pnr text, airline_pnrs text[],
    booking_number text, trace_id text, provider_status text, remark text, passengers jsonb, ticket_numbers text[],
    warnings text[], payload json, content_hash bytea, received_at timestamptz, recorded_at timestamptz,
    last_received_at timestamptz, delivery_count integer, expected_by timestamptz, generation integer, recorded_xid xid8,
    sequence bigint
)
language plpgsql stable rows 100 as $$
#variable_conflict use_column
declare
    position record;
begin
    select * into position from ticket_feed_position(after);
    return query
    select ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at), item.*
    from ticket_feed_items(position.generation, position.recorded_xid, position.sequence, max_items) as item
    order by generation, recorded_xid, sequence;
end
$$;

-- How long the feed has been held back: items that are committed behind the oldest transaction that writes, in any database
-- of the cluster. `pid` is that of its backend; null when it is a prepared transaction.
create function ticket_feed_held_back(out seconds double precision, out pid integer)
language sql stable
return (
    select row(
        extract(epoch from clock_timestamp() - min(item.recorded_at))::double precision,
        (select pg_locks.pid from pg_locks
         where locktype = 'transactionid' and granted and mode = 'ExclusiveLock'
         and transactionid = pg_snapshot_xmin(pg_current_snapshot())::xid
         limit 1)
    )
    from (
        (select recorded_at from ticket_events
         where (generation, recorded_xid) >= (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
         order by generation, recorded_xid, sequence limit 1)
        union all
        (select recorded_at from feed_notices
         where (generation, recorded_xid) >= (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
         order by generation, recorded_xid, sequence limit 1)
    ) as item
);

-- Raises the generation when the database was restored into another cluster. Waits for all transactions that write events:
-- none of the older generation may commit later. Whether it was raised.
--
-- What was recorded here before, by a replica that ran on while its database was replaced, belongs to the new generation:
-- nobody was given it. Its rows still have the transaction that made them, which a restored row has not, and are behind
-- the restored rows in the sequence.
create function ticket_feed_raise_generation() returns boolean
language plpgsql as $$
declare
    raised integer;
    first_here bigint;
begin
    if not ticket_feed_is_misplaced() then
        return false;
    end if;
    lock table ticket_events, feed_notices in access exclusive mode;
    -- another replica may have done it meanwhile
    if not ticket_feed_is_misplaced() then
        return false;
    end if;
    insert into feed_generations (generation, system_identifier)
    select ticket_feed_generation() + 1, system_identifier from pg_control_system()
    returning generation into raised;
    select min(sequence) into first_here
    from (
        select sequence, recorded_at from ticket_events where generation = raised - 1 and xmin = recorded_xid::xid
        union all
        select sequence, recorded_at from feed_notices where generation = raised - 1 and xmin = recorded_xid::xid
    ) as here
    -- the transaction that restored a row may have the number of the one that made it, elsewhere; the identifier of a
    -- cluster begins with the time when it was made
    where recorded_at > (select to_timestamp(system_identifier >> 32) from pg_control_system());
    update ticket_events set generation = raised where generation = raised - 1 and sequence >= first_here;
    update feed_notices set generation = raised where generation = raised - 1 and sequence >= first_here;
    execute format('alter table ticket_events alter column generation set default %s', raised);
    execute format('alter table feed_notices alter column generation set default %s', raised);
    return true;
end
$$;
