-- The places of the first $8 scanned events that match. What is found by its keys is compared again: the event decides.
select scanned.generation, scanned.recorded_xid::text::bigint as recorded_xid, scanned.sequence
from ({scanned}) as scanned
cross join lateral (
    select
    from ticket_events as event
    where event.generation = scanned.generation and event.recorded_xid = scanned.recorded_xid
    and event.sequence = scanned.sequence
    and event.provider = coalesce($9, event.provider)
    and event.environment = coalesce($10, event.environment)
    and event.status = coalesce($11, event.status)
    and event.received_at >= coalesce($12, '-infinity') and event.received_at < coalesce($13, 'infinity')
    and (
        $14::text[] = '{}'
        or not exists (
            select from unnest($14::text[], $15::text[]) as wanted (kind, key)
            where (wanted.kind, wanted.key) not in (select kind, key from ticket_event_keys(event))
        )
    )
    offset 0
) as event
order by scanned.generation {direction}, scanned.recorded_xid {direction}, scanned.sequence {direction}
limit $8
