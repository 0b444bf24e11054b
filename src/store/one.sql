-- A batch of one event: $1 to $21 are its columns, in batch.sql's order. What follows works on it.
with delivery as (
    select
        $1::uuid as id, $2::text as provider, $3::text as account, $4::text as environment, $5::text as booking_ref,
        $6::text as status, $7::text as pnr, $8::text as gds_pnr, $9::text as airline_pnrs, $10::text as booking_number,
        $11::text as trace_id, $12::text as provider_status, $13::text as remark, $14::text as passengers,
        $15::text as ticket_numbers, $16::text as warnings, $17::text as payload, $18::bytea as content_hash,
        $19::timestamptz as received_at, $20::timestamptz as last_received_at, $21::integer as delivery_count
)
