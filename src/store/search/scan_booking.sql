-- Events of a booking, whatever its provider and environment: one range of the unique index for each pair of them.
with recursive owner as (
    (select provider, environment from ticket_events order by provider, environment limit 1)
    union all
    select next.*
    from owner
    cross join lateral (
        select provider, environment
        from ticket_events
        where (ticket_events.provider, ticket_events.environment) > (owner.provider, owner.environment)
        order by provider, environment
        limit 1
    ) as next
)
select event.*
from owner
cross join lateral (
    select generation, recorded_xid, sequence
    from ticket_events
    where provider = owner.provider and environment = owner.environment and booking_ref = $16
    offset 0
) as event
where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
order by generation {direction}, recorded_xid {direction}, sequence {direction}
limit $7
