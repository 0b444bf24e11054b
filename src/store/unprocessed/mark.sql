-- Links an unprocessed delivery to the event ($5) that it became or repeats, unless it is not as it was read.
update unprocessed_deliveries
set reprocessed_at = now(), event_id = $5
where id = $1
and reprocessed_at is null
and erased_at is null
and body_hash = $2
and delivery_count = $3
and last_received_at = $4
returning (select late from ticket_events where ticket_events.id = $5) as late
