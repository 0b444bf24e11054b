-- The next items after the position ($1, $2, $3): up to $4 of them, and about $5 bytes by their stored size, with the payload
-- if $6. `found` counts them without the limit of bytes.
select
    type, id, event_id, provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, gds_pnr,
    airline_pnrs, booking_number, trace_id, provider_status, remark, passengers::text as passengers, ticket_numbers,
    warnings, case when $6 then payload::text end as payload, content_hash, received_at, recorded_at, last_received_at,
    delivery_count, expected_by, generation, recorded_xid::text::bigint as recorded_xid, sequence, found
from (
    select
        *,
        count(*) over () as found,
        sum(pg_column_size(passengers) + case when $6 then pg_column_size(payload) else 0 end) over (
            order by generation, recorded_xid, sequence rows between unbounded preceding and 1 preceding
        ) as bytes_before
    from ticket_feed_items($1, $2::text::xid8, $3, $4)
) as counted
where coalesce(bytes_before, 0) < $5
order by generation, recorded_xid, sequence
