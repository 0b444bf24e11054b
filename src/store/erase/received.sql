-- The events with ids above $1, up to $2, that were received before $3; $4 is the id of that time.
select
    id, generation, recorded_xid::text::bigint as recorded_xid, sequence,
    received_at < $3 and is_erasable(erased_at, passengers, null, null) as is_erasable
from ticket_events
where id > $1
and id < $4
order by id
limit $2
