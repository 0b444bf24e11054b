-- Adds the keys of the events among the next $1 items of the feed, and moves the position of the consumer `search` behind
-- them, unless another replica has moved it in the last two seconds: $2 is the position to which this one moved it last.
with consumer as materialized (
    select found.* from consumers cross join ticket_feed_position(consumers.position) as found
    where consumers.name = 'search'
    and (consumers.position = $2 or consumers.updated_at not between now() - interval '2 seconds' and now())
),
scanned as materialized (
    select item.generation, item.recorded_xid, item.sequence, item.id, item.recorded_at
    from consumer
    cross join ticket_feed_items(consumer.generation, consumer.recorded_xid, consumer.sequence, $1) as item
),
newest as materialized (
    select * from scanned order by generation desc, recorded_xid desc, sequence desc limit 1
),
-- sorted, so that the transaction gets its id, and holds the feed back, only once all keys are known
keys as materialized (
    select found.kind, found.key, (listed.event).generation, (listed.event).recorded_xid, (listed.event).sequence,
        (listed.event).received_at
    from consumer
    cross join newest
    -- there are no more events than items: in order and with a limit, the planner reads just these, by the index
    cross join lateral (
        select event
        from ticket_events as event
        where (event.generation, event.recorded_xid, event.sequence)
            > (consumer.generation, consumer.recorded_xid, consumer.sequence)
        and (event.generation, event.recorded_xid, event.sequence)
            <= (newest.generation, newest.recorded_xid, newest.sequence)
        order by event.generation, event.recorded_xid, event.sequence
        limit $1
    ) as listed
    cross join ticket_event_keys(listed.event) as found
    order by found.kind, found.key
),
inserted as (
    insert into search_keys (kind, key, generation, recorded_xid, sequence, received_at)
    select * from keys
    on conflict do nothing
    returning 1
)
update consumers set
    position = ticket_feed_cursor(newest.generation, newest.recorded_xid, newest.sequence, newest.id, newest.recorded_at),
    updated_at = now()
from newest, (select count(*) from inserted) as inserted
where name = 'search'
returning position, (select count(*) from scanned) as scanned
