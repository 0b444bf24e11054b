-- The history of the feed has changed: lets the forward $1 of the replica $2 go on from the cursor $3, at ($4, $5, $6).
with held as (
    update forwards set scanned = $3 where name = $1 and holder = $2 returning name
),
moved as (
    update consumers set position = $3, updated_at = clock_timestamp() from held where consumers.name = held.name
)
delete from forward_items using held
where forward = held.name and (generation, recorded_xid, sequence) > ($4, $5, $6)
