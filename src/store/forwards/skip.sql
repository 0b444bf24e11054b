-- Gives up the item $2 of the forward $1, unless that is just being recorded as delivered.
insert into forward_skips (forward, id, provider, environment, booking_ref, attempts, last_outcome)
select forward, id, provider, environment, booking_ref, attempts, last_outcome
from forward_items
where forward = $1 and id = $2
for update
on conflict do nothing
