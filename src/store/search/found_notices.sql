-- The places of the first $8 scanned notices that match.
select generation, recorded_xid::text::bigint as recorded_xid, sequence
from ({scanned}) as scanned
where provider = coalesce($9, provider)
and environment = coalesce($10, environment)
-- an event that the consumer may have seen was erased, whatever its status
and ($11::text is null or status = $11 or type = 'erased')
order by scanned.generation {direction}, scanned.recorded_xid {direction}, scanned.sequence {direction}
limit $8
