-- Looks at up to $1 bookings whose expected_by has passed: settles those with a final status, and puts the others into the
-- feed. One statement, so that its snapshot is taken before its transaction id. Another replica that does the same waits
-- for the rows and finds them changed. Returns the number of new items.
with due as materialized (
    select due.*, state.status, coalesce(state.status = any ('{ticketed,failed,aborted,cancelled}'), false) as is_final
    from (
        select provider, environment, booking_ref, expected_by
        from bookings
        where expected_by <= now() and not is_settled and noted_expected_by is distinct from expected_by
        order by expected_by
        limit $1
    ) as due
    left join lateral (
        select status
        from ticket_events
        where provider = due.provider
        and environment = due.environment
        and booking_ref = due.booking_ref
        and not late
        order by revision desc
        limit 1
    ) as state on true
),
looked_at as (
    update bookings
    set is_settled = due.is_final,
        noted_expected_by = case when due.is_final then bookings.noted_expected_by else due.expected_by end
    from due
    where bookings.provider = due.provider
    and bookings.environment = due.environment
    and bookings.booking_ref = due.booking_ref
    and bookings.expected_by = due.expected_by
    and bookings.noted_expected_by is distinct from due.expected_by
    and not bookings.is_settled
    returning bookings.provider, bookings.environment, bookings.booking_ref, bookings.expected_by, due.status, due.is_final
),
noted as (
    insert into feed_notices (type, provider, environment, booking_ref, expected_by, status)
    select 'overdue', provider, environment, booking_ref, expected_by, status
    from looked_at
    where not is_final
    order by expected_by, provider, environment, booking_ref
    returning 1
)
select (select count(*) from due) as due, (select count(*) from noted) as noted
