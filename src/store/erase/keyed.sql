-- The events behind the position ($1, $2, $3), up to $4 and up to the position ($10, $11, $12), with the search key $5 $6 and all the keys $7 of that kind; the name
-- $8, the document $9.
select
    event.id, key.generation, key.recorded_xid::text::bigint as recorded_xid, key.sequence,
    is_erasable(event.erased_at, event.passengers, $8, $9) as is_erasable
from (
    select generation, recorded_xid, sequence
    from search_keys
    where kind = $5
    and key = $6
    and (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
    and (generation, recorded_xid, sequence) <= ($10, $11::text::xid8, $12)
    and not exists (
        select from unnest($7::text[]) as word
        where not exists (
            select from search_keys as other
            where other.kind = $5
            and other.key = word
            and other.generation = search_keys.generation
            and other.recorded_xid = search_keys.recorded_xid
            and other.sequence = search_keys.sequence
        )
    )
    order by generation, recorded_xid, sequence
    limit $4
) as key
join ticket_events as event using (generation, recorded_xid, sequence)
order by key.generation, key.recorded_xid, key.sequence
