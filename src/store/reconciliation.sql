-- The differences between what was expected and what came, of bookings announced and events recorded from $1 up to $2: up to $5
-- of each kind. Provider $3, environment $4: null for any. Up to $6 bookings and events are looked at, the newest.
with event as materialized (
    select *
    from events_recorded_between($1, $2, $6)
    where ($3::text is null or provider = $3) and ($4::text is null or environment = $4)
),
announced as materialized (
    select provider, environment, booking_ref, expected_by, announced_at
    from bookings
    where announced_at >= $1 and announced_at < $2
    and ($3::text is null or provider = $3) and ($4::text is null or environment = $4)
    order by announced_at desc
    limit $6
),
not_ticketed as (
    select
        provider, environment, booking_ref, state.status, expected_by, state.id as event_id, announced_at as at
    from announced
    left join lateral (
        select id, status
        from ticket_events
        where provider = announced.provider
        and environment = announced.environment
        and booking_ref = announced.booking_ref
        and not late
        order by revision desc
        limit 1
    ) as state on true
    where state.status is distinct from 'ticketed'
    order by announced_at, provider, environment, booking_ref
    limit $5
),
not_expected as (
    select provider, environment, booking_ref, state.status, state.id as event_id, at
    from (
        select provider, environment, booking_ref, max(recorded_at) as at
        from event
        where status = any ('{ticketed,partially_ticketed}')
        and not exists (
            select from bookings
            where bookings.provider = event.provider
            and bookings.environment = event.environment
            and bookings.booking_ref = event.booking_ref
        )
        group by provider, environment, booking_ref
    ) as booking
    cross join lateral (
        select id, status
        from ticket_events
        where provider = booking.provider
        and environment = booking.environment
        and booking_ref = booking.booking_ref
        and not late
        order by revision desc
        limit 1
    ) as state
    where state.status = any ('{ticketed,partially_ticketed}')
    order by at, provider, environment, booking_ref
    limit $5
),
conflict as (
    select *
    from event
    where previous_status = any ('{ticketed,failed,aborted,cancelled}') and status <> previous_status
    order by recorded_at, id
    limit $5
),
shared as (
    select *
    from (
        select *, count(*) over (partition by environment, number) as bookings
        from (
            select provider, environment, booking_ref, number, max(recorded_at) as at
            from event, unnest(ticket_numbers) as number
            group by provider, environment, booking_ref, number
        ) as reported
    ) as reported
    where bookings > 1
    order by environment, number, provider, booking_ref
    limit $5
),
difference as (
    select
        1 as part, row_number() over (order by at, provider, environment, booking_ref) as row, 'not_ticketed' as kind,
        provider, environment, booking_ref, status, null as previous_status, null as ticket_number, expected_by, event_id, at
    from not_ticketed
    union all
    select
        2, row_number() over (order by at, provider, environment, booking_ref), 'not_expected',
        provider, environment, booking_ref, status, null, null, null, event_id, at
    from not_expected
    union all
    select
        3, row_number() over (order by recorded_at, id), 'conflict',
        provider, environment, booking_ref, status, previous_status, null, null, id, recorded_at
    from conflict
    union all
    select
        4, row_number() over (order by environment, number, provider, booking_ref), 'shared_ticket_number',
        provider, environment, booking_ref, null, null, number, null, null, at
    from shared
)
-- a row of nulls when there is no difference: it says whether all was looked at
select
    difference.*,
    (select count(*) from event) >= $6 or (select count(*) from announced) >= $6 as is_cut
from (select) as one
left join difference on true
order by part, row
