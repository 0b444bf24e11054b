-- Inserts the first revision of one new booking, and returns what `first_revisions.sql` returns for many. A lone delivery
-- is spared what Postgres does for arrays and for a statement of several parts.
insert into ticket_events (
    revision,
    {columns}
)
values (
    1,
    {values}
)
on conflict (provider, environment, booking_ref, revision) do nothing
returning array[id]
