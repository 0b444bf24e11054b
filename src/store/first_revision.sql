-- Records the first revisions of a batch. What is not the first of its booking is not inserted, and so is what was
-- written before, as its booking has a first revision. To look for its id, too, would cost every row a moment. The ids of
-- those that are inserted come back in one row.
,
inserted as (
    insert into ticket_events (
        id, provider, account, environment, booking_ref, revision, status, pnr, gds_pnr, airline_pnrs, booking_number,
        trace_id, provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash, received_at,
        last_received_at, delivery_count
    )
    select
        id, provider, account, environment, booking_ref, 1, status, pnr, gds_pnr, string_to_array(airline_pnrs, e'\n'),
        booking_number, trace_id, provider_status, remark, passengers::jsonb, string_to_array(ticket_numbers, e'\n'),
        string_to_array(warnings, e'\n'), payload::json, content_hash, received_at, last_received_at, delivery_count
    from delivery
    on conflict (provider, environment, booking_ref, revision) do nothing
    returning id
)
select array_agg(id) from inserted
