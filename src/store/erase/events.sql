-- Erases the events $1: the person with the name words $2 or the document $3, or everybody; their search keys; a notice for
-- each; counted in the erasure $4 to $10. Returns what was erased, and what was not because another transaction has locked it.
--
-- One statement, the first write of its transaction: its snapshot, in which the notices are inserted, is taken before it
-- gets a transaction id. It waits for no row, so it never deadlocks with the statement that counts duplicates.
with target as (
    select event as before
    from ticket_events as event
    where id = any ($1)
    and is_erasable(erased_at, passengers, $2, $3)
    order by id
    for no key update of event skip locked
),
updated as (
    update ticket_events as event
    set passengers = erased_passengers(event.passengers, $2, $3),
        remark = null,
        payload = 'null',
        erased_at = now()
    from target
    where event.id = (target.before).id
    returning event as after
),
gone as (
    select (before).generation, (before).recorded_xid, (before).sequence, event_key.kind, event_key.key
    from target
    cross join lateral ticket_event_keys(before) as event_key
    except
    select (after).generation, (after).recorded_xid, (after).sequence, event_key.kind, event_key.key
    from updated
    cross join lateral ticket_event_keys(after) as event_key
),
deleted as (
    delete from search_keys
    where ctid = any (array(
        select stored.ctid
        from gone
        cross join lateral (
            select ctid
            from search_keys
            where kind = gone.kind
            and key = gone.key
            and generation = gone.generation
            and recorded_xid = gone.recorded_xid
            and sequence = gone.sequence
            -- keeps the planner from joining with the whole table
            offset 0
        ) as stored
    ))
),
noticed as (
    insert into feed_notices (type, provider, environment, booking_ref, event_id)
    select 'erased', (after).provider, (after).environment, (after).booking_ref, (after).id
    from updated
    order by (after).generation, (after).recorded_xid, (after).sequence
),
counted as (
    insert into erasures (id, subject, requested_by, provider, environment, booking_ref, received_before, events)
    select $4, $5, $6, $7, $8, $9, $10, count(*)
    from updated
    having count(*) > 0
    on conflict (id) do update set events = erasures.events + excluded.events
)
select (after).id, true as is_erased from updated
union all
select id, false
from ticket_events
where id = any ($1)
and is_erasable(erased_at, passengers, $2, $3)
and id not in (select (before).id from target)
