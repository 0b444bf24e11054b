-- A batch of events: $1 to $21 are its columns. What follows works on it.
-- Side by side the arrays are opened row by row; in `from`, Postgres would first write out each of them.
with delivery as (
    select
        unnest($1::uuid[]) as id, unnest($2::text[]) as provider, unnest($3::text[]) as account,
        unnest($4::text[]) as environment, unnest($5::text[]) as booking_ref, unnest($6::text[]) as status,
        unnest($7::text[]) as pnr, unnest($8::text[]) as gds_pnr, unnest($9::text[]) as airline_pnrs,
        unnest($10::text[]) as booking_number, unnest($11::text[]) as trace_id, unnest($12::text[]) as provider_status,
        unnest($13::text[]) as remark, unnest($14::text[]) as passengers, unnest($15::text[]) as ticket_numbers,
        unnest($16::text[]) as warnings, unnest($17::text[]) as payload, unnest($18::bytea[]) as content_hash,
        unnest($19::timestamptz[]) as received_at, unnest($20::timestamptz[]) as last_received_at,
        unnest($21::integer[]) as delivery_count
)
