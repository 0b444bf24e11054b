-- Records how far the forward $1 is, and extends the lease of the replica $2 by $3 seconds; no row when another one has it, or
-- the version is not $9.
-- $4 scanned, $5 the position, $6 the items that are done, $7 those that are not and have to be kept, $8 the receiver is gone,
-- $10 when it may be sent to again.
with held as (
    update forwards
    set
        scanned = $4,
        version = version + 1,
        not_before = $10,
        leased_until = clock_timestamp() + $3 * interval '1 second',
        paused_at = case when $8 then coalesce(paused_at, clock_timestamp()) else paused_at end,
        pause_reason = case when $8 then coalesce(pause_reason, 'gone') else pause_reason end
    where name = $1 and holder = $2 and version = $9
    returning name, paused_at is not null as is_paused, resumes
),
moved as (
    update consumers set position = $5, updated_at = clock_timestamp()
    from held
    where consumers.name = held.name and position <> $5
),
done as (
    delete from forward_items using held where forward = held.name and id = any ($6)
),
kept as (
    insert into forward_items (
        forward, id, generation, recorded_xid, sequence, preceding, provider, environment, booking_ref, recorded_at,
        attempts, first_attempt_at, last_attempt_at, last_outcome, next_attempt_at
    )
    select
        held.name, id, generation, transaction, sequence, preceding, provider, environment, booking_ref, recorded_at,
        attempts, first_attempt_at, last_attempt_at, last_outcome, next_attempt_at
    from jsonb_to_recordset($7) as item (
        id uuid, generation integer, transaction bigint, sequence bigint, preceding text, provider text,
        environment text, booking_ref text, recorded_at timestamptz, attempts integer, first_attempt_at timestamptz,
        last_attempt_at timestamptz, last_outcome text, next_attempt_at timestamptz
    )
    cross join held
    on conflict (forward, id) do update
    set
        attempts = excluded.attempts, first_attempt_at = excluded.first_attempt_at,
        last_attempt_at = excluded.last_attempt_at, last_outcome = excluded.last_outcome,
        next_attempt_at = excluded.next_attempt_at
)
select
    is_paused, resumes,
    array (select id from forward_skips join forward_items using (forward, id) where forward = held.name) as skipped
from held
