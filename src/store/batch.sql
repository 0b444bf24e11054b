-- A batch of events with at most one of each booking: $1 to $21 are its columns. What follows works on it.
with delivery as (
    select *
    from unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
        $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
        $18::bytea[], $19::timestamptz[], $20::timestamptz[], $21::integer[]
    ) as delivery (
        id, provider, account, environment, booking_ref, status, pnr, gds_pnr, airline_pnrs, booking_number, trace_id,
        provider_status, remark, passengers, ticket_numbers, warnings, payload, content_hash, received_at,
        last_received_at, delivery_count
    )
)
