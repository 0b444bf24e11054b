-- The last one of the $7 that are scanned; none where there were fewer.
select generation, recorded_xid::text::bigint as recorded_xid, sequence
from ({scanned}) as scanned
offset $7 - 1
limit 1
