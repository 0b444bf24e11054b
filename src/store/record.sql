-- Records a batch. $22 are the providers of which only known bookings are taken, $23 is whether the batch waited in a
-- spool, so that others may have overtaken it.
,
-- what is known of each booking; where a comparison is with a row that is not there, it decides nothing
compared as materialized (
    select
        delivery.*,
        coalesce(top.revision, 0) + 1 as next_revision,
        coalesce(written.revision, equal.revision) as found_revision,
        coalesce(written.id, equal.id) as found_id,
        written.last_received_at as counted_until,
        late.yes as late,
        basis.status as previous_status,
        case
            when written.id is not null then 'written'
            when delivery.provider = any ($22) and not exists (
                select from bookings
                where bookings.provider = delivery.provider
                and bookings.environment = delivery.environment
                and bookings.booking_ref = delivery.booking_ref
            ) then 'unknown_booking'
            when equal.id is not null then 'duplicate'
            else 'revision'
        end as decision
    from delivery
    left join lateral (
        select id, revision, late, status, content_hash, last_received_at
        from ticket_events
        where provider = delivery.provider
        and environment = delivery.environment
        and booking_ref = delivery.booking_ref
        order by revision desc
        limit 1
    ) as top on true
    -- a batch whose answer was lost is handed in again; what was written before has left a revision
    left join lateral (
        select id, revision, last_received_at
        from ticket_events
        where id = delivery.id
        and top.id is not null
        -- keeps the planner from joining with the whole table
        offset 0
    ) as written on true
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
    cross join lateral (
        select $23 and coalesce(state.last_received_at > delivery.last_received_at, false) as yes
    ) as late
    -- what was received before it: the state, or for a late one what was there when it arrived
    left join lateral (
        select state.id, state.status, state.revision, state.content_hash
        where not late.yes and state.id is not null
        union all
        (
            select id, status, revision, content_hash
            from ticket_events
            where late.yes
            and provider = delivery.provider
            and environment = delivery.environment
            and booking_ref = delivery.booking_ref
            and ticket_events.received_at <= delivery.received_at
            order by ticket_events.received_at desc, ticket_events.revision desc
            limit 1
        )
    ) as basis on true
    left join lateral (
        select id, revision
        from (values (state.id, state.revision, state.content_hash), (basis.id, basis.revision, basis.content_hash))
            as candidate (id, revision, content_hash)
        where candidate.content_hash = delivery.content_hash
        limit 1
    ) as equal on true
),
repeated as (
    update ticket_events
    set delivery_count = ticket_events.delivery_count + compared.delivery_count,
        last_received_at = greatest(ticket_events.last_received_at, compared.last_received_at)
    from compared
    where ticket_events.id = compared.found_id and compared.decision = 'duplicate'
),
inserted as (
    insert into ticket_events (
        id, provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, gds_pnr, airline_pnrs,
        booking_number, trace_id, provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash,
        received_at, last_received_at, delivery_count
    )
    select
        id, provider, account, environment, booking_ref, next_revision, late, status, previous_status, pnr, gds_pnr,
        string_to_array(airline_pnrs, e'\n'), booking_number, trace_id, provider_status, remark, passengers::jsonb,
        string_to_array(ticket_numbers, e'\n'), string_to_array(warnings, e'\n'), payload::json, content_hash,
        received_at, last_received_at, delivery_count
    from compared
    where decision = 'revision'
    -- the same order in every replica, so that two of them cannot wait for each other
    order by provider, environment, booking_ref
    -- another replica was faster: not inserted, and decided again in the next round
    on conflict do nothing
    returning id, revision
)
select
    compared.id,
    case when compared.decision = 'revision' and inserted.id is null then 'raced' else compared.decision end as decision,
    compared.found_id,
    compared.counted_until,
    coalesce(inserted.revision, compared.found_revision) as revision,
    -- any change away from a final status
    coalesce(
        inserted.id is not null and compared.previous_status <> compared.status
        and compared.previous_status = any ('{ticketed,failed,aborted,cancelled}'),
        false
    ) as is_conflict
from compared
left join inserted on inserted.id = compared.id
