-- Unprocessed deliveries, the newest first. $1: the one before (null: the beginning). $2: how many. From $3 on: what they
-- must match; null is any.
select
    id, provider, account, environment, reason, detail, booking_ref, received_at, last_received_at, delivery_count,
    reprocessed_at, event_id, erased_at
from unprocessed_deliveries
where ($1::uuid is null or id < $1)
and ($3::text is null or provider = $3)
and ($4::text is null or environment = $4)
and ($5::text is null or reason = $5)
and ($6::boolean is null or (reprocessed_at is not null) = $6)
and ($7::timestamptz is null or received_at >= $7)
order by id desc
limit $2
