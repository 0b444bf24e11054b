-- Unprocessed deliveries whose booking was not known and is now, in the order of receipt. $1: the one before (null: the
-- beginning). $2: how many.
-- materialized: found by the index of those that wait, not by going through all deliveries in the order of their ids
with announced as materialized (
    select id
    from unprocessed_deliveries
    where reason = 'unknown_booking'
    and reprocessed_at is null
    and erased_at is null
    and exists (
        select from bookings
        where bookings.provider = unprocessed_deliveries.provider
        and bookings.environment = unprocessed_deliveries.environment
        and bookings.booking_ref = unprocessed_deliveries.booking_ref
    )
)
select id
from announced
where $1::uuid is null or id > $1
order by id
limit $2
