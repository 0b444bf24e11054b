-- Unprocessed deliveries that wait, in the order of receipt. The parameters are those of list.sql.
select id
from unprocessed_deliveries
where reprocessed_at is null
and erased_at is null
and ($1::uuid is null or id > $1)
and ($3::text is null or provider = $3)
and ($4::text is null or environment = $4)
and ($5::text is null or reason = $5)
and coalesce($6::boolean, false) = false
and ($7::timestamptz is null or received_at >= $7)
order by id
limit $2
