-- The cursor of the last of the up to $4 items after the position ($1, $2, $3), and their number.
select ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at) as cursor, count
from (
    select *, row_number() over (order by generation, recorded_xid, sequence) as count
    from (
        select generation, recorded_xid, sequence, id, recorded_at
        from feed_items
        where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
        and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
        order by generation, recorded_xid, sequence
        limit $4
    ) as scanned
) as scanned
order by count desc
limit 1
