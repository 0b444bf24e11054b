-- Records that nothing is left of the erasure $1 to $7. Of retention only where something was erased.
insert into erasures (id, subject, requested_by, provider, environment, booking_ref, received_before, finished_at)
select $1, $2, $3, $4, $5, $6, $7, now()
where $3 <> 'retention'
or exists (select from erasures where id = $1)
on conflict (id) do update set finished_at = excluded.finished_at
