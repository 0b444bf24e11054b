-- All events, backwards: those that have no search keys yet. Backwards an index is left at the first column of a row only, which
-- would read it to its beginning; so few of them, as usual, are read forwards.
with few as materialized (
    select generation, recorded_xid, sequence
    from ticket_events
    where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
    and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
    and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
    order by generation, recorded_xid, sequence
    limit $7
)
(select * from few where (select count(*) from few) < $7)
union all
(
    select generation, recorded_xid, sequence
    from ticket_events
    where (select count(*) from few) = $7
    and (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
    and (generation, recorded_xid, sequence) <= ($4, $5::text::xid8, $6)
    and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
    order by generation desc, recorded_xid desc, sequence desc
    limit $7
)
order by generation desc, recorded_xid desc, sequence desc
limit $7
