-- Up to $2 items that the forward $1 tried and could not deliver, the oldest first.
select id, provider, environment, booking_ref, recorded_at, attempts, first_attempt_at, last_attempt_at, last_outcome,
    next_attempt_at
from blocked_forward_items
where forward = $1
order by generation, recorded_xid, sequence
limit $2
