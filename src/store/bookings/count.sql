-- How many bookings are overdue and stuck, of each up to $2: without a final status past their expected_by, and for more
-- than $1 minutes since the last delivery.
select 'overdue' as kind, provider, environment, count(*)
from (
    select provider, environment
    from bookings
    where expected_by < now() and not is_settled
    order by expected_by
    limit $2
) as overdue
group by provider, environment
union all
select 'stuck', provider, environment, count(*)
from (
    select provider, environment, booking_ref
    from open_bookings
    where last_received_at < now() - make_interval(mins => $1)
    order by last_received_at
    limit $2
) as silent
-- duplicates may have come since
cross join lateral (
    select status, last_received_at
    from ticket_events
    where provider = silent.provider
    and environment = silent.environment
    and booking_ref = silent.booking_ref
    and not late
    order by revision desc
    limit 1
) as state
where state.status = any ('{pending,confirmed,partially_ticketed}')
and state.last_received_at < now() - make_interval(mins => $1)
group by provider, environment
