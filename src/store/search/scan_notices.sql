-- All notices.
select generation, recorded_xid, sequence, type, provider, environment, status
from feed_notices
where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
order by generation {direction}, recorded_xid {direction}, sequence {direction}
limit $7
