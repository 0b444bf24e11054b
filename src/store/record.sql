-- Records a batch. $22 are the providers of which only known bookings are taken, $23 is whether the batch waited in a
-- spool, so that others may have overtaken it. $24 numbers the bookings: the events of one are a chain, and $25 is the
-- position of each in its chain. An event says something else than the one before it in its chain.
,
link as (
    select * from unnest($1::uuid[], $24::integer[], $25::integer[]) as link (id, chain, position)
),
-- what is known of each booking; where a comparison is with a row that is not there, it decides nothing
known as materialized (
    select
        link.chain,
        coalesce(top.revision, 0) as top_revision,
        state.id as state_id,
        state.revision as state_revision,
        state.status as state_status,
        state.content_hash as state_hash,
        state.last_received_at as state_last_received_at,
        delivery.provider = any ($22) and not exists (
            select from bookings
            where bookings.provider = delivery.provider
            and bookings.environment = delivery.environment
            and bookings.booking_ref = delivery.booking_ref
        ) as is_unknown
    from link
    join delivery using (id)
    left join lateral (
        select id, revision, late, status, content_hash, last_received_at
        from ticket_events
        where provider = delivery.provider
        and environment = delivery.environment
        and booking_ref = delivery.booking_ref
        order by revision desc
        limit 1
    ) as top on true
    -- the state of the booking: as a rule the newest revision, else the newest that is not late
    left join lateral (
        select top.id, top.status, top.revision, top.content_hash, top.last_received_at
        where not top.late
        union all
        (
            select id, status, revision, content_hash, last_received_at
            from ticket_events
            where top.late
            and provider = delivery.provider
            and environment = delivery.environment
            and booking_ref = delivery.booking_ref
            and not ticket_events.late
            order by ticket_events.revision desc
            limit 1
        )
    ) as state on true
    where link.position = 1
),
-- a batch whose answer was lost is handed in again; what was written before has left a revision
written as materialized (
    select link.chain, link.position, found.id, found.revision, found.last_received_at
    from link
    join known using (chain)
    cross join lateral (
        select id, revision, last_received_at
        from ticket_events
        where id = link.id
        and known.top_revision > 0
        -- keeps the planner from joining with the whole table
        offset 0
    ) as found
),
written_until as materialized (
    select chain, max(position) as position from written group by chain
),
-- from here on only what decides: what is kept of an event is wide
chained as materialized (
    select
        delivery.id,
        delivery.provider,
        delivery.environment,
        delivery.booking_ref,
        delivery.status,
        delivery.content_hash,
        delivery.received_at,
        delivery.last_received_at,
        delivery.delivery_count,
        link.position,
        known.*,
        overtaken.yes as late,
        lag(delivery.status) over before as before_status,
        lag(delivery.received_at) over before as before_received_at,
        -- whether what was received before it is the one before it in its chain, unless the table knows better
        coalesce(lag(overtaken.yes) over before = overtaken.yes, false) as has_before
    from link
    join delivery using (id)
    join known using (chain)
    cross join lateral (
        select $23 and coalesce(known.state_last_received_at > delivery.last_received_at, false) as yes
    ) as overtaken
    window before as (partition by link.chain order by link.position)
),
-- of bookings that were overtaken: the revisions between which late events belong
span as (
    select chain, provider, environment, booking_ref, min(received_at) as earliest, max(received_at) as latest
    from chained
    where late
    group by chain, provider, environment, booking_ref
),
neighbour as materialized (
    select span.chain, revisions.*
    from span
    cross join lateral (
        (
            select id, revision, status, content_hash, received_at
            from ticket_events
            where provider = span.provider
            and environment = span.environment
            and booking_ref = span.booking_ref
            and received_at <= span.earliest
            order by received_at desc, ticket_events.revision desc
            limit 1
        )
        union all
        select id, revision, status, content_hash, received_at
        from ticket_events
        where provider = span.provider
        and environment = span.environment
        and booking_ref = span.booking_ref
        and received_at > span.earliest
        and received_at <= span.latest
    ) as revisions
),
compared as materialized (
    select
        chained.*,
        -- what was decided before and left no revision was a duplicate of the one before the next that did
        coalesce(written.revision, decided.revision, equal.revision) as found_revision,
        coalesce(written.id, decided.id, equal.id) as found_id,
        written.last_received_at as counted_until,
        case
            when basis.id is not null then basis.status
            when chained.has_before then chained.before_status
            when not chained.late then chained.state_status
        end as previous_status,
        case
            when written.id is not null then 'written'
            when chained.position < written_until.position then 'decided'
            -- what was written before may have grown: first that is counted
            when chained.position > written_until.position then 'wait'
            when chained.is_unknown then 'unknown_booking'
            when equal.id is not null then 'duplicate'
            else 'revision'
        end as decision
    from chained
    left join written using (chain, position)
    left join written_until using (chain)
    -- what was received before a late one, if that is a revision that is there
    left join lateral (
        select id, revision, status, content_hash
        from neighbour
        where chained.late
        and neighbour.chain = chained.chain
        and neighbour.received_at <= chained.received_at
        and (not chained.has_before or neighbour.received_at > chained.before_received_at)
        order by neighbour.received_at desc, neighbour.revision desc
        limit 1
    ) as basis on true
    left join lateral (
        select id, revision
        from (values
            (chained.state_id, chained.state_revision, chained.state_hash, chained.late or not chained.has_before),
            (basis.id, basis.revision, basis.content_hash, true)
        ) as candidate (id, revision, content_hash, is_compared)
        where candidate.is_compared
        and candidate.content_hash = chained.content_hash
        limit 1
    ) as equal on true
    left join lateral (
        select found.id, found.revision
        from ticket_events as found
        where chained.position < written_until.position
        and found.provider = chained.provider
        and found.environment = chained.environment
        and found.booking_ref = chained.booking_ref
        and found.revision = (
            select greatest(min(later.revision) - 1, 1)
            from written as later
            where later.chain = chained.chain
            and later.position > chained.position
        )
        offset 0
    ) as decided on true
),
numbered as materialized (
    select
        compared.*,
        count(*) filter (where decision = 'revision') over (partition by chain order by position) as ordinal
    from compared
),
repeated as (
    update ticket_events
    set delivery_count = ticket_events.delivery_count + repetition.delivery_count,
        last_received_at = greatest(ticket_events.last_received_at, repetition.last_received_at)
    from (
        select found_id, sum(delivery_count)::integer as delivery_count, max(last_received_at) as last_received_at
        from numbered
        where decision = 'duplicate'
        group by found_id
    ) as repetition
    where ticket_events.id = repetition.found_id
),
-- the first new revision of each booking. Where another replica was faster it is not inserted, and the whole chain is
-- decided again in the next round.
head as (
    insert into ticket_events (
        id, provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, gds_pnr, airline_pnrs,
        booking_number, trace_id, provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash,
        received_at, last_received_at, delivery_count
    )
    select
        id, delivery.provider, account, delivery.environment, delivery.booking_ref, top_revision + 1, late, delivery.status,
        previous_status, pnr, gds_pnr, string_to_array(airline_pnrs, e'\n'), booking_number, trace_id, provider_status, remark,
        passengers::jsonb, string_to_array(ticket_numbers, e'\n'), string_to_array(warnings, e'\n'), payload::json,
        delivery.content_hash, delivery.received_at, delivery.last_received_at, delivery.delivery_count
    from numbered
    join delivery using (id)
    where decision = 'revision' and ordinal = 1
    -- the same order in every replica, so that two of them cannot wait for each other
    order by numbered.provider, numbered.environment, numbered.booking_ref
    on conflict do nothing
    returning id, revision
),
-- the others: nobody else can have their numbers
tail as (
    insert into ticket_events (
        id, provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, gds_pnr, airline_pnrs,
        booking_number, trace_id, provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash,
        received_at, last_received_at, delivery_count
    )
    select
        id, delivery.provider, account, delivery.environment, delivery.booking_ref, top_revision + ordinal, late, delivery.status,
        previous_status, pnr, gds_pnr, string_to_array(airline_pnrs, e'\n'), booking_number, trace_id, provider_status, remark,
        passengers::jsonb, string_to_array(ticket_numbers, e'\n'), string_to_array(warnings, e'\n'), payload::json,
        delivery.content_hash, delivery.received_at, delivery.last_received_at, delivery.delivery_count
    from numbered
    join delivery using (id)
    where decision = 'revision' and ordinal > 1
    -- compared with true, each of the two is looked up in a hash table, and no loop over all
    and true = (chain in (select first.chain from numbered as first where true = (first.id in (select id from head))))
    order by chain, ordinal
    on conflict do nothing
    returning id, revision
),
inserted as (
    select id, revision from head
    union all
    select id, revision from tail
)
select
    numbered.id,
    case when numbered.decision = 'revision' and inserted.id is null then 'raced' else numbered.decision end as decision,
    numbered.found_id,
    numbered.counted_until,
    coalesce(inserted.revision, numbered.found_revision) as revision,
    -- any change away from a final status
    coalesce(
        inserted.id is not null and numbered.previous_status <> numbered.status
        and numbered.previous_status = any ('{ticketed,failed,aborted,cancelled}'),
        false
    ) as is_conflict
from numbered
left join inserted on inserted.id = numbered.id
