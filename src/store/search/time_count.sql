-- The number of events received from $1 on and before $2, counted up to $3.
select count(*) as count
from (
    select from search_keys
    where kind = 'class' and received_at >= coalesce($1, '-infinity') and received_at < coalesce($2, 'infinity')
    limit $3
) as some
