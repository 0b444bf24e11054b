-- Whether an unprocessed delivery is as it was read.
select
from unprocessed_deliveries
where id = $1
and reprocessed_at is null
and body_hash = $2
and delivery_count = $3
and last_received_at = $4
