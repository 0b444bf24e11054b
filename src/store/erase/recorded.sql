-- The events behind the position ($1, $2, $3), up to $4, and up to the position ($5, $6, $7) or all: those received before $8
-- or at any time, with the name $9, the document $10, or anybody.
select
    id, generation, recorded_xid::text::bigint as recorded_xid, sequence,
    ($8::timestamptz is null or received_at < $8) and is_erasable(erased_at, passengers, $9, $10) as is_erasable
from ticket_events
where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
and ($5::integer is null or (generation, recorded_xid, sequence) <= ($5, $6::text::xid8, $7))
-- by the table's columns, not by the result's, for its index
order by ticket_events.generation, ticket_events.recorded_xid, ticket_events.sequence
limit $4
