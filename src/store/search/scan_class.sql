-- Events of the wanted classes, of which there are at most some forty: one range of the index for each.
with recursive class as (
    (select key from search_keys where kind = 'class' order by key limit 1)
    union all
    select next.key
    from class
    cross join lateral (
        select key from search_keys where kind = 'class' and key > class.key order by key limit 1
    ) as next
)
select event.*
from class
cross join lateral (
    select generation, recorded_xid, sequence, received_at
    from search_keys
    where kind = 'class' and key = class.key
    and (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
    and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
    order by generation {direction}, recorded_xid {direction}, sequence {direction}
    limit $7
) as event
where split_part(class.key, '/', 1) = coalesce($10, split_part(class.key, '/', 1))
and split_part(class.key, '/', 2) = coalesce($9, split_part(class.key, '/', 2))
and split_part(class.key, '/', 3) = coalesce($11, split_part(class.key, '/', 3))
order by generation {direction}, recorded_xid {direction}, sequence {direction}
limit $7
