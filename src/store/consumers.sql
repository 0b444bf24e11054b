-- The named positions ($1: all, or one), each with how far it is behind: in seconds, since the first item behind it was
-- recorded, and in items, counted up to $2.
select
    consumers.name,
    consumers.position,
    consumers.updated_at,
    coalesce(extract(epoch from clock_timestamp() - first_item.recorded_at), 0)::double precision as lag_seconds,
    behind.count as lag_events
from consumers
cross join lateral (
    select (string_to_array(consumers.position, '.'))[1:3]::bigint[] as parts
) as cursor
left join lateral (
    select recorded_at from ticket_feed_items(parts[1]::integer, parts[2]::text::xid8, parts[3], 1)
) as first_item on true
cross join lateral (
    select count(*) as count from ticket_feed_items(parts[1]::integer, parts[2]::text::xid8, parts[3], $2)
) as behind
where $1::text is null or consumers.name = $1
order by consumers.name
