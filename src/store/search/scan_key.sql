-- Events with the first of the wanted keys.
select generation, recorded_xid, sequence, received_at
from search_keys
where kind = ($14::text[])[1] and key = ($15::text[])[1]
and (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
order by generation {direction}, recorded_xid {direction}, sequence {direction}
limit $7
