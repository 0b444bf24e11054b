-- Reads up to $4 events behind the position ($1, $2, $3) of the feed, brings open_bookings and is_settled up to date for
-- their bookings, and moves the position. A booking is compared as it is now: its later events are read again.
--
-- A late event never changes a state. An event after a final status that has a final status itself changes nothing here.
with scanned as materialized (
    select
        provider, environment, booking_ref, late, status, previous_status, generation, recorded_xid, sequence, id,
        recorded_at
    from ticket_events
    where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
    and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
    order by generation, recorded_xid, sequence
    limit $4
),
booking as (
    select
        provider, environment, booking_ref,
        bool_or(
            status = any ('{pending,confirmed,partially_ticketed}')
            or coalesce(previous_status = any ('{pending,confirmed,partially_ticketed}'), false)
        ) as is_or_was_open
    from scanned
    where not late
    group by provider, environment, booking_ref
),
compared as materialized (
    select
        booking.provider, booking.environment, booking.booking_ref, state.last_received_at,
        state.status = any ('{pending,confirmed,partially_ticketed}') as is_open
    from booking
    left join bookings as expected using (provider, environment, booking_ref)
    cross join lateral (
        select status, last_received_at
        from ticket_events
        where provider = booking.provider
        and environment = booking.environment
        and booking_ref = booking.booking_ref
        and not late
        order by revision desc
        limit 1
    ) as state
    where booking.is_or_was_open or expected.expected_by is not null or expected.is_settled
),
opened as (
    insert into open_bookings (provider, environment, booking_ref, last_received_at)
    select provider, environment, booking_ref, last_received_at from compared where is_open
    on conflict (provider, environment, booking_ref) do update set last_received_at = excluded.last_received_at
),
closed as (
    delete from open_bookings
    using compared
    where open_bookings.provider = compared.provider
    and open_bookings.environment = compared.environment
    and open_bookings.booking_ref = compared.booking_ref
    and not compared.is_open
),
settled as (
    update bookings
    set is_settled = not compared.is_open
    from compared
    where bookings.provider = compared.provider
    and bookings.environment = compared.environment
    and bookings.booking_ref = compared.booking_ref
    and bookings.is_settled = compared.is_open
    and (bookings.is_settled or bookings.expected_by is not null)
),
moved as (
    insert into consumers (name, position)
    select 'bookings', ticket_feed_cursor(generation, recorded_xid, sequence, id, recorded_at)
    from scanned
    order by generation desc, recorded_xid desc, sequence desc
    limit 1
    on conflict (name) do update set position = excluded.position, updated_at = now()
)
select count(*) as scanned from scanned
