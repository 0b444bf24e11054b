-- The revisions of a booking with ids above $1, up to $2. Providers $3, environments $4, reference $5.
select
    id, generation, recorded_xid::text::bigint as recorded_xid, sequence,
    is_erasable(erased_at, passengers, null, null) as is_erasable
from ticket_events
where provider = any ($3)
and environment = any ($4)
and booking_ref = $5
and id > $1
order by id
limit $2
