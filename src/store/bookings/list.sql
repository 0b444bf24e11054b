-- The states of the next $4 of the candidates, in the order of the ranges and the reference. A range is a provider $1, an
-- environment $2, and the reference $3 behind which it begins: an exact part of an index. Stuck is one after $5 minutes.
select state.*, {is_stuck} as is_stuck
from (
    select range.number, range.provider, range.environment, candidate.booking_ref
    from unnest($1::text[], $2::text[], $3::text[]) with ordinality as range (provider, environment, after, number)
    cross join lateral (
        {candidates}
    ) as candidate
    order by range.number, candidate.booking_ref
    limit $4
) as key
cross join lateral (
    select *
    from booking_states
    where provider = key.provider and environment = key.environment and booking_ref = key.booking_ref
    -- one look-up for each key, whatever the planner expects
    offset 0
) as state
order by key.number, key.booking_ref
