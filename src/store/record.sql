-- Records a batch of events whose bookings may have revisions. $1: the providers that reject unknown bookings. $2: whether
-- the batch waited in a spool, so that later deliveries may be recorded already. $3 and $4: the chain of each event and its
-- position there; an event differs from its predecessor in the chain. From $5 on: the columns, the ids first.
with delivery as (
    select
        {delivery}
),
chain_position as (
    select * from unnest($5::uuid[], $3::integer[], $4::integer[]) as chain_position (id, chain, position)
),
-- The stored state of each booking. Its columns are null for a booking without revisions: then no comparison with them
-- is true.
booking_state as materialized (
    select
        chain_position.chain,
        coalesce(newest_row.revision, 0) as newest_revision,
        current_row.id as current_id,
        current_row.revision as current_revision,
        current_row.status as current_status,
        current_row.content_hash as current_hash,
        current_row.last_received_at as current_last_received_at,
        delivery.provider = any ($1) and not exists (
            select from bookings
            where bookings.provider = delivery.provider
            and bookings.environment = delivery.environment
            and bookings.booking_ref = delivery.booking_ref
        ) as is_unknown
    from chain_position
    join delivery using (id)
    left join lateral (
        select id, revision, late, status, content_hash, last_received_at
        from ticket_events
        where provider = delivery.provider
        and environment = delivery.environment
        and booking_ref = delivery.booking_ref
        order by revision desc
        limit 1
    ) as newest_row on true
    -- the state of the booking: as a rule the newest revision, else the newest that is not late
    left join lateral (
        select
            newest_row.id, newest_row.status, newest_row.revision, newest_row.content_hash, newest_row.last_received_at
        where not newest_row.late
        union all
        (
            select id, status, revision, content_hash, last_received_at
            from ticket_events
            where newest_row.late
            and provider = delivery.provider
            and environment = delivery.environment
            and booking_ref = delivery.booking_ref
            and not ticket_events.late
            order by ticket_events.revision desc
            limit 1
        )
    ) as current_row on true
    where chain_position.position = 1
),
-- events that an earlier attempt stored: a batch is handed in again when its answer was lost
already_stored as materialized (
    select chain_position.chain, chain_position.position, stored.id, stored.revision, stored.last_received_at
    from chain_position
    join booking_state using (chain)
    cross join lateral (
        select id, revision, last_received_at
        from ticket_events
        where id = chain_position.id
        and booking_state.newest_revision > 0
        -- keeps the planner from joining with the whole table
        offset 0
    ) as stored
),
stored_until as materialized (
    select chain, max(position) as position from already_stored group by chain
),
-- only what decides: the other columns are wide
chain_event as materialized (
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
        chain_position.position,
        booking_state.*,
        overtaken.is_late as late,
        lag(delivery.status) over chain_order as predecessor_status,
        lag(delivery.received_at) over chain_order as predecessor_received_at,
        -- Compared with the previous event of the chain if both are late or neither is. A stored revision that was
        -- received in between takes precedence (`stored_predecessor`).
        coalesce(lag(overtaken.is_late) over chain_order = overtaken.is_late, false) as is_predecessor_in_chain
    from chain_position
    join delivery using (id)
    join booking_state using (chain)
    cross join lateral (
        select
            $2 and coalesce(booking_state.current_last_received_at > delivery.last_received_at, false) as is_late
    ) as overtaken
    window chain_order as (partition by chain_position.chain order by chain_position.position)
),
-- of each booking with late events: the time in which these were received
late_range as (
    select chain, provider, environment, booking_ref, min(received_at) as earliest, max(received_at) as latest
    from chain_event
    where late
    group by chain, provider, environment, booking_ref
),
-- stored revisions received in that time, and the last one before it
late_range_revision as materialized (
    select late_range.chain, revisions.*
    from late_range
    cross join lateral (
        (
            select id, revision, status, content_hash, received_at
            from ticket_events
            where provider = late_range.provider
            and environment = late_range.environment
            and booking_ref = late_range.booking_ref
            and received_at <= late_range.earliest
            order by received_at desc, ticket_events.revision desc
            limit 1
        )
        union all
        select id, revision, status, content_hash, received_at
        from ticket_events
        where provider = late_range.provider
        and environment = late_range.environment
        and booking_ref = late_range.booking_ref
        and received_at > late_range.earliest
        and received_at <= late_range.latest
    ) as revisions
),
compared as materialized (
    select
        chain_event.*,
        coalesce(already_stored.revision, already_counted.revision, matching_revision.revision) as matching_revision,
        coalesce(already_stored.id, already_counted.id, matching_revision.id) as matching_id,
        already_stored.last_received_at as counted_until,
        case
            when stored_predecessor.id is not null then stored_predecessor.status
            when chain_event.is_predecessor_in_chain then chain_event.predecessor_status
            when not chain_event.late then chain_event.current_status
        end as previous_status,
        case
            when already_stored.id is not null then 'already_recorded'
            when chain_event.position < stored_until.position then 'already_counted'
            -- The stored event before it may have gained equal deliveries, which are counted first.
            when chain_event.position > stored_until.position then 'next_round'
            when chain_event.is_unknown then 'unknown_booking'
            when matching_revision.id is not null then 'duplicate'
            else 'new_revision'
        end as decision
    from chain_event
    left join already_stored using (chain, position)
    left join stored_until using (chain)
    -- the predecessor by receipt time of a late event, if that is a stored revision
    left join lateral (
        select id, revision, status, content_hash
        from late_range_revision
        where chain_event.late
        and late_range_revision.chain = chain_event.chain
        and late_range_revision.received_at <= chain_event.received_at
        and (
            not chain_event.is_predecessor_in_chain
            or late_range_revision.received_at > chain_event.predecessor_received_at
        )
        order by late_range_revision.received_at desc, late_range_revision.revision desc
        limit 1
    ) as stored_predecessor on true
    -- the revision that the event repeats
    left join lateral (
        select id, revision
        from (values
            (
                chain_event.current_id, chain_event.current_revision, chain_event.current_hash,
                chain_event.late or not chain_event.is_predecessor_in_chain
            ),
            (stored_predecessor.id, stored_predecessor.revision, stored_predecessor.content_hash, true)
        ) as candidate (id, revision, content_hash, is_compared)
        where candidate.is_compared
        and candidate.content_hash = chain_event.content_hash
        limit 1
    ) as matching_revision on true
    -- An event before a stored one that has no row was counted as a duplicate by the earlier attempt: of the revision
    -- before that of the next stored event in its chain.
    left join lateral (
        select revision_before.id, revision_before.revision
        from ticket_events as revision_before
        where chain_event.position < stored_until.position
        and revision_before.provider = chain_event.provider
        and revision_before.environment = chain_event.environment
        and revision_before.booking_ref = chain_event.booking_ref
        and revision_before.revision = (
            select greatest(min(next_stored.revision) - 1, 1)
            from already_stored as next_stored
            where next_stored.chain = chain_event.chain
            and next_stored.position > chain_event.position
        )
        offset 0
    ) as already_counted on true
),
numbered as materialized (
    select
        compared.*,
        count(*) filter (where decision = 'new_revision') over (partition by chain order by position) as ordinal
    from compared
),
counted_duplicates as (
    update ticket_events
    set delivery_count = ticket_events.delivery_count + duplicates.delivery_count,
        last_received_at = greatest(ticket_events.last_received_at, duplicates.last_received_at)
    from (
        select matching_id, sum(delivery_count)::integer as delivery_count, max(last_received_at) as last_received_at
        from numbered
        where decision = 'duplicate'
        group by matching_id
    ) as duplicates
    where ticket_events.id = duplicates.matching_id
),
-- The first new revision of each booking. When another replica stored that number first, nothing is inserted here or
-- below, and the next round decides the chain again.
first_insert as (
    insert into ticket_events (
        revision,
        late,
        previous_status,
        {columns}
    )
    select
        numbered.newest_revision + 1,
        numbered.late,
        numbered.previous_status,
        {values}
    from numbered
    join delivery using (id)
    where decision = 'new_revision' and ordinal = 1
    -- the same order in every replica, so that two of them cannot deadlock
    order by numbered.provider, numbered.environment, numbered.booking_ref
    on conflict do nothing
    returning id, revision
),
-- Revisions behind the first new one: other replicas conflict on that one, so its owner has the following numbers.
further_inserts as (
    insert into ticket_events (
        revision,
        late,
        previous_status,
        {columns}
    )
    select
        numbered.newest_revision + numbered.ordinal,
        numbered.late,
        numbered.previous_status,
        {values}
    from numbered
    join delivery using (id)
    where decision = 'new_revision' and ordinal > 1
    -- `true =` makes the planner hash both lists instead of looping over them
    and true = (
        chain in (select first.chain from numbered as first where true = (first.id in (select id from first_insert)))
    )
    order by chain, ordinal
    on conflict do nothing
    returning id, revision
),
inserted as (
    select id, revision from first_insert
    union all
    select id, revision from further_inserts
)
select
    numbered.id,
    case
        when numbered.decision = 'new_revision' and inserted.id is null then 'lost_race'
        else numbered.decision
    end as decision,
    numbered.matching_id,
    numbered.counted_until,
    coalesce(inserted.revision, numbered.matching_revision) as revision,
    -- also from one final status to another
    coalesce(
        inserted.id is not null and numbered.previous_status <> numbered.status
        and numbered.previous_status = any ('{ticketed,failed,aborted,cancelled}'),
        false
    ) as changes_final_status
from numbered
left join inserted on inserted.id = numbered.id
