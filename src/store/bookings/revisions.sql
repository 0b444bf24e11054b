-- The newest $4 revisions of a booking ($1, $2, $3), in their order. Each that is not late with what it is compared with:
-- the revision before it that is not late.
select
    event.id, event.revision, event.late, event.status, event.pnr, event.ticket_numbers, event.remark, event.warnings,
    event.received_at, event.recorded_at, event.last_received_at, event.delivery_count,
    array(select {name} from jsonb_array_elements(event.passengers) as passenger) as passengers,
    before.revision is not null as has_before,
    before.status as status_before,
    before.pnr as pnr_before,
    coalesce(before.ticket_numbers, '{}') as ticket_numbers_before,
    coalesce(before.passengers, '{}') as passengers_before
from (
    select *
    from feed_items
    where type = 'revision' and provider = $1 and environment = $2 and booking_ref = $3
    order by revision desc
    limit $4
) as event
left join lateral (
    select
        revision, status, pnr, ticket_numbers,
        array(select {name} from jsonb_array_elements(passengers) as passenger) as passengers
    from feed_items
    where type = 'revision' and provider = $1 and environment = $2 and booking_ref = $3
    and revision < event.revision and not feed_items.late and not event.late
    order by revision desc
    limit 1
) as before on true
order by event.revision
