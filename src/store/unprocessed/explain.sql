-- Gives a delivery that is still unprocessed the reason of today, unless the same body has a row with that reason already.
update unprocessed_deliveries
set reason = $2, detail = $3, booking_ref = coalesce($4, booking_ref)
where id = $1
and reprocessed_at is null
and (reason <> $2 or detail <> $3 or coalesce(booking_ref <> $4, booking_ref is null and $4 is not null))
and not exists (
    select from unprocessed_deliveries as other
    where other.provider = unprocessed_deliveries.provider
    and other.environment = unprocessed_deliveries.environment
    and other.account = unprocessed_deliveries.account
    and other.body_hash = unprocessed_deliveries.body_hash
    and other.reason = $2
    and other.id <> $1
    and other.reprocessed_at is null
)
