-- The last $2 items that were skipped.
select id, provider, environment, booking_ref, attempts, last_outcome, skipped_at
from forward_skips
where forward = $1
order by skipped_at desc, id
limit $2
