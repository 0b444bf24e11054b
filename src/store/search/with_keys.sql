-- The scanned ones that have all wanted keys and were received in the wanted time: decided without reading the events.
select *
from ({scanned}) as scanned
where received_at >= coalesce($12, '-infinity') and received_at < coalesce($13, 'infinity')
and not exists (
    select from unnest(($14::text[])[2:], ($15::text[])[2:]) as wanted (kind, key)
    where not exists (
        select from search_keys
        where search_keys.kind = wanted.kind and search_keys.key = wanted.key
        and search_keys.generation = scanned.generation and search_keys.recorded_xid = scanned.recorded_xid
        and search_keys.sequence = scanned.sequence
    )
)
