-- Stores unprocessed deliveries, one for each body, and returns a row for each. Ids that are stored already are skipped.
insert into unprocessed_deliveries (
    id, provider, account, environment, reason, detail, booking_ref, body, body_hash, received_at, last_received_at,
    delivery_count
)
select delivery.*
from unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[], $9::bytea[],
    $10::timestamptz[], $11::timestamptz[], $12::integer[]
) as delivery (id)
where not exists (select from unprocessed_deliveries as stored where stored.id = delivery.id)
on conflict (provider, environment, account, reason, body_hash) where reprocessed_at is null do update
set delivery_count = unprocessed_deliveries.delivery_count + excluded.delivery_count,
    last_received_at = greatest(unprocessed_deliveries.last_received_at, excluded.last_received_at)
returning 1
