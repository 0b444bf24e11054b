-- Takes the lease of the forward $1 for the replica $2, for $3 seconds, unless another one has it: no row.
update forwards
set holder = $2, leased_until = clock_timestamp() + $3 * interval '1 second'
where name = $1 and (holder is null or holder = $2 or leased_until < clock_timestamp())
returning
    scanned, version, not_before, paused_at is not null as is_paused, resumes,
    array (select id from forward_skips join forward_items using (forward, id) where forward = forwards.name) as skipped
