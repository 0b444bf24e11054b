-- Announces bookings: the keys $1, $2, $3, each once; expected_by $4, which is kept where it stands already if $5.
with given as materialized (
    select *
    from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::boolean[])
        as given (provider, environment, booking_ref, expected_by, keeps_expected_by)
),
known as materialized (
    select provider, environment, booking_ref, bookings.expected_by
    from given
    join bookings using (provider, environment, booking_ref)
),
written as (
    insert into bookings (provider, environment, booking_ref, expected_by)
    select
        provider, environment, booking_ref,
        case when given.keeps_expected_by then known.expected_by else given.expected_by end
    from given
    left join known using (provider, environment, booking_ref)
    order by provider, environment, booking_ref
    on conflict (provider, environment, booking_ref) do update
    set expected_by = excluded.expected_by
    where bookings.expected_by is distinct from excluded.expected_by
    returning provider, environment, booking_ref
)
select
    count(*) filter (where known.booking_ref is null) as announced,
    count(*) filter (where known.booking_ref is not null and written.booking_ref is not null) as changed,
    count(*) filter (where known.booking_ref is not null and written.booking_ref is null) as unchanged
from given
left join known using (provider, environment, booking_ref)
left join written using (provider, environment, booking_ref)
