-- Adds counts to the rows of the current period. The order keeps replicas from waiting for each other in a circle.
insert into delivery_counts as counted (
    since, provider, environment,
    recorded, duplicates, unprocessed, unauthenticated, unreadable, unavailable, last_received_at, durations
)
select
    date_bin('10 minutes', now(), 'epoch'), provider, environment,
    recorded, duplicates, unprocessed, unauthenticated, unreadable, unavailable,
    now() - make_interval(secs => age_seconds), durations
from jsonb_to_recordset($1) as added (
    provider text, environment text, recorded bigint, duplicates bigint, unprocessed bigint, unauthenticated bigint,
    unreadable bigint, unavailable bigint, age_seconds double precision, durations bigint[]
)
order by provider, environment
on conflict (since, provider, environment) do update set
    recorded = counted.recorded + excluded.recorded,
    duplicates = counted.duplicates + excluded.duplicates,
    unprocessed = counted.unprocessed + excluded.unprocessed,
    unauthenticated = counted.unauthenticated + excluded.unauthenticated,
    unreadable = counted.unreadable + excluded.unreadable,
    unavailable = counted.unavailable + excluded.unavailable,
    last_received_at = greatest(counted.last_received_at, excluded.last_received_at),
    -- another version of the program may have another number of them
    durations = (
        select array_agg(coalesce(before, 0) + coalesce(added, 0) order by position)
        from unnest(counted.durations, excluded.durations) with ordinality as bucket (before, added, position)
    )
