-- The state of the booking ($1, $2, $3); stuck is one after $4 minutes. Each part is a look-up by its key.
select *, passengers::text as passengers_text, {is_stuck} as is_stuck
from booking_states
where provider = $1 and environment = $2 and booking_ref = $3
