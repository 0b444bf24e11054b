-- Inserts the first revisions of new bookings and returns their ids in one row. Bookings that have a revision are
-- skipped; this also skips events that an earlier attempt stored, so ids are not looked up, which would slow every row.
with delivery as (
    select
        {delivery}
),
inserted as (
    insert into ticket_events (
        revision,
        {columns}
    )
    select
        1,
        {values}
    from delivery
    on conflict (provider, environment, booking_ref, revision) do nothing
    returning id
)
select array_agg(id) from inserted
