-- Events of the wanted classes that were received in the wanted time.
select generation, recorded_xid, sequence, received_at
from search_keys
where kind = 'class'
and received_at >= coalesce($12, '-infinity') and received_at < coalesce($13, 'infinity')
and split_part(key, '/', 1) = coalesce($10, split_part(key, '/', 1))
and split_part(key, '/', 2) = coalesce($9, split_part(key, '/', 2))
and split_part(key, '/', 3) = coalesce($11, split_part(key, '/', 3))
and (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
order by generation {direction}, recorded_xid {direction}, sequence {direction}
limit $7
