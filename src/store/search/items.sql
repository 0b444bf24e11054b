-- The items at the places ($1, $2, $3), in their order, up to about $4 bytes by their stored size, with the payload if $5.
select
    type, id, event_id, provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, gds_pnr,
    airline_pnrs, booking_number, trace_id, provider_status, remark, passengers::text as passengers, ticket_numbers,
    warnings, case when $5 then payload::text end as payload, content_hash, received_at, recorded_at, last_received_at,
    delivery_count, expected_by, generation, recorded_xid::text::bigint as recorded_xid, sequence
from (
    select
        item.*,
        number,
        sum(pg_column_size(passengers) + case when $5 then pg_column_size(payload) else 0 end) over (
            order by number rows between unbounded preceding and 1 preceding
        ) as bytes_before
    from unnest($1::integer[], $2::bigint[], $3::bigint[]) with ordinality
        as place (generation, recorded_xid, sequence, number)
    cross join lateral (
        select *
        from feed_items
        where feed_items.generation = place.generation and feed_items.recorded_xid = place.recorded_xid::text::xid8
        and feed_items.sequence = place.sequence
        offset 0
    ) as item
) as item
where coalesce(bytes_before, 0) < $4
order by number
