-- What `record.sql` would decide on one event from a spool, without writing. $1: the providers that reject unknown bookings.
-- $2 to $4: its booking. $5: its id. $6: its content hash. $7 and $8: when it was received first and last.
select
    stored.revision as stored_revision,
    stored.late as stored_late,
    coalesce(newest.revision, 0) + 1 as next_revision,
    overtaken.is_late,
    $2 = any ($1) and not exists (
        select from bookings where provider = $2 and environment = $3 and booking_ref = $4
    ) as is_unknown,
    coalesce(repeated_state.id, repeated_predecessor.id) as repeated_id,
    coalesce(repeated_state.revision, repeated_predecessor.revision) as repeated_revision
from (select) as one
left join ticket_events as stored on stored.id = $5
left join lateral (
    select revision from ticket_events
    where provider = $2 and environment = $3 and booking_ref = $4
    order by revision desc limit 1
) as newest on true
left join lateral (
    select id, revision, content_hash, last_received_at from ticket_events
    where provider = $2 and environment = $3 and booking_ref = $4 and not ticket_events.late
    order by revision desc limit 1
) as state on true
cross join lateral (select coalesce(state.last_received_at > $8, false) as is_late) as overtaken
left join lateral (select state.id, state.revision where state.content_hash = $6) as repeated_state on true
left join lateral (
    select predecessor.id, predecessor.revision
    from (
        select id, revision, content_hash from ticket_events
        where overtaken.is_late
        and provider = $2 and environment = $3 and booking_ref = $4
        and received_at <= $7
        order by received_at desc, revision desc limit 1
    ) as predecessor
    where predecessor.content_hash = $6
) as repeated_predecessor on true
