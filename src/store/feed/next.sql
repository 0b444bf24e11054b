-- The next items after the position ($1, $2, $3) that match, of up to $4 that are scanned: up to $5 of them, and about $6
-- bytes by their stored size, with the payload if $7. `matched` counts what matches without the limit of bytes. Provider $8,
-- environment $9, status $10, booking $11: null for any.
select
    type, id, event_id, provider, account, environment, booking_ref, revision, late, status, previous_status, pnr, gds_pnr,
    airline_pnrs, booking_number, trace_id, provider_status, remark, passengers::text as passengers, ticket_numbers,
    warnings, case when $7 then payload::text end as payload, content_hash, received_at, recorded_at, last_received_at,
    delivery_count, expected_by, generation, recorded_xid::text::bigint as recorded_xid, sequence, matched
from (
    select
        *,
        count(*) over () as matched,
        sum(pg_column_size(passengers) + case when $7 then pg_column_size(payload) else 0 end) over (
            order by generation, recorded_xid, sequence rows between unbounded preceding and 1 preceding
        ) as bytes_before
    from (
        select *
        from (
            select *
            from feed_items
            where (generation, recorded_xid, sequence) > ($1, $2::text::xid8, $3)
            and (generation, recorded_xid) < (ticket_feed_generation(), pg_snapshot_xmin(pg_current_snapshot()))
            order by generation, recorded_xid, sequence
            limit $4
        ) as scanned
        where ($8::text is null or provider = $8)
        and ($9::text is null or environment = $9)
        -- an event that the consumer may have seen was erased, whatever its status
        and ($10::text is null or status = $10 or type = 'erased')
        and ($11::text is null or booking_ref = $11)
        limit $5
    ) as matching
) as counted
where coalesce(bytes_before, 0) < $6
order by generation, recorded_xid, sequence
