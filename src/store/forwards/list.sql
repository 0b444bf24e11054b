-- The forwards with the names $1, each with its position and what it cannot deliver. `lag_seconds` and `lag_events` (up to
-- $2) as of consumers.
select
    consumers.name,
    consumers.position,
    coalesce(leased_until > clock_timestamp(), false) as is_active,
    paused_at,
    pause_reason,
    coalesce(extract(epoch from clock_timestamp() - first_item.recorded_at), 0)::double precision as lag_seconds,
    behind.count as lag_events,
    blocked.bookings as blocked_bookings,
    coalesce(extract(epoch from clock_timestamp() - blocked.since), 0)::double precision as blocked_seconds,
    (select count(*) from forward_skips where forward = forwards.name) as skipped
from forwards
join consumers using (name)
cross join lateral (
    select (string_to_array(consumers.position, '.'))[1:3]::bigint[] as parts
) as cursor
left join lateral (
    select recorded_at from ticket_feed_items(parts[1]::integer, parts[2]::text::xid8, parts[3], 1)
) as first_item on true
cross join lateral (
    select count(*) as count from ticket_feed_items(parts[1]::integer, parts[2]::text::xid8, parts[3], $2)
) as behind
cross join lateral (
    select count(distinct (provider, environment, booking_ref)) as bookings, min(first_attempt_at) as since
    from blocked_forward_items
    where forward = forwards.name
) as blocked
where forwards.name = any ($1)
order by consumers.name
