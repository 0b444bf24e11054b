-- Unprocessed deliveries whose booking was not known and is now, in the order of receipt. $1: the one before (null: the
-- beginning). $2: how many.
select id
from unprocessed_deliveries
where reason = 'unknown_booking'
and reprocessed_at is null
and ($1::uuid is null or id > $1)
and exists (
    select from bookings
    where bookings.provider = unprocessed_deliveries.provider
    and bookings.environment = unprocessed_deliveries.environment
    and bookings.booking_ref = unprocessed_deliveries.booking_ref
)
order by id
limit $2
