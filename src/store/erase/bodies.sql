-- Erases the bodies of the unprocessed deliveries $1, counted in the erasure $2 to $8. Returns what was erased, and what was
-- not because another transaction has locked it.
with target as (
    select id
    from unprocessed_deliveries
    where id = any ($1)
    and erased_at is null
    order by id
    for no key update skip locked
),
updated as (
    update unprocessed_deliveries as delivery
    set body = '', erased_at = now()
    from target
    where delivery.id = target.id
    returning delivery.id
),
counted as (
    insert into erasures (
        id, subject, requested_by, provider, environment, booking_ref, received_before, unprocessed_deliveries
    )
    select $2, $3, $4, $5, $6, $7, $8, count(*)
    from updated
    having count(*) > 0
    on conflict (id) do update
    set unprocessed_deliveries = erasures.unprocessed_deliveries + excluded.unprocessed_deliveries
)
select id, true as is_erased from updated
union all
select id, false
from unprocessed_deliveries
where id = any ($1)
and erased_at is null
and id not in (select id from target)
