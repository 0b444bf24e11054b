-- One row for every revision of a booking: the n-th time that what is known of it changed.
create table ticket_events (
    id               uuid primary key,
    provider         text not null,
    account          text not null,
    environment      text not null check (environment in ('test', 'live')),
    booking_ref      text not null,
    revision         integer not null check (revision > 0),
    late             boolean not null default false,
    status           text not null check (status in (
                         'ticketed', 'partially_ticketed', 'confirmed', 'pending', 'failed', 'aborted', 'cancelled')),
    previous_status  text,
    pnr              text,
    gds_pnr          text,
    airline_pnrs     text[] not null,
    booking_number   text,
    trace_id         text,
    provider_status  text,
    remark           text,
    passengers       jsonb not null,
    ticket_numbers   text[] not null,
    warnings         text[] not null,
    payload          json not null,
    content_hash     bytea not null check (octet_length(content_hash) = 32),
    received_at      timestamptz not null,
    recorded_at      timestamptz not null default now(),
    last_received_at timestamptz not null,
    delivery_count   integer not null default 1 check (delivery_count > 0),
    recorded_xid     xid8 not null default pg_current_xact_id(),
    sequence         bigint generated always as identity,
    -- also finds the newest revision of a booking, and makes replicas that race for the next one conflict
    unique (provider, environment, booking_ref, revision)
);

comment on table ticket_events is 'What providers said about bookings: one row for each delivery that said something new (a revision). A revision replaces what was known of the booking and is not merged with it. The state of a booking is its newest revision that is not late.';
comment on column ticket_events.id is 'The id of the delivery, made when it arrived (UUIDv7).';
comment on column ticket_events.provider is 'Who sent it: ticket_status_update, booking_callback, order_ticketed.';
comment on column ticket_events.account is 'The name of the configured account whose credentials it carried. No part of the key: a rotated secret does not start a booking anew.';
comment on column ticket_events.environment is 'The environment of the account, test or live. Part of the key: a test account never touches a live booking.';
comment on column ticket_events.booking_ref is 'The provider''s own key of the booking: BookingTransactionRef, BookingId, data.orderNo.';
comment on column ticket_events.revision is '1, 2, 3… within one booking, in the order of recording.';
comment on column ticket_events.late is 'Recorded after deliveries that arrived later, because it waited in a spool. Never the state of the booking.';
comment on column ticket_events.status is 'What became of the booking.';
comment on column ticket_events.previous_status is 'The status before this delivery; null on the first revision.';
comment on column ticket_events.pnr is 'The booking''s own record locator, upper case.';
comment on column ticket_events.gds_pnr is 'The record locator in the distribution system, upper case.';
comment on column ticket_events.airline_pnrs is 'The airlines'' record locators of the booking and its passengers, upper case, each once, in their order.';
comment on column ticket_events.booking_number is 'The number under which the provider shows the booking to people (BookingRefNumber).';
comment on column ticket_events.trace_id is 'The provider''s id of the request (TraceId). It makes no difference between deliveries.';
comment on column ticket_events.provider_status is 'The provider''s internal status (the top-level status of order_ticketed). It decides nothing and makes no difference between deliveries.';
comment on column ticket_events.remark is 'The provider''s words; on failed and aborted the reason.';
comment on column ticket_events.passengers is 'The travellers, in their order: title, first_name, middle_name, last_name, type, gender, birth_date, nationality, document {type, number, issued_by, expires_on}, tickets [{raw, number}], and for order_ticketed airline_pnrs and ancillaries (as sent). What was not sent is left out.';
comment on column ticket_events.ticket_numbers is 'The ticket numbers of all passengers, upper case, without white space and dashes, each once, in their order.';
comment on column ticket_events.warnings is 'What was missing or odd in the delivery. Names fields, never repeats values.';
comment on column ticket_events.payload is 'The JSON as it was sent, less the credentials; a secret that stood as a word of its own elsewhere is [redacted]. json and not jsonb, which refuses \u0000 and lone surrogates.';
comment on column ticket_events.content_hash is 'SHA-256 over the payload less the members that differ from delivery to delivery (TraceId, EndUserIp; the top-level status of order_ticketed), whatever the white space, the escapes and the order of members. A delivery with the hash of the newest revision is a duplicate.';
comment on column ticket_events.received_at is 'When the first delivery of this revision arrived.';
comment on column ticket_events.recorded_at is 'When this row was written.';
comment on column ticket_events.last_received_at is 'When the latest delivery of this revision arrived.';
comment on column ticket_events.delivery_count is 'How many deliveries said this: 1 and its duplicates.';
comment on column ticket_events.recorded_xid is 'The transaction that wrote this row. With sequence an order that never changes once no older transaction runs.';
comment on column ticket_events.sequence is 'Orders the rows of one transaction.';

-- Deliveries that were authenticated and could not become a ticket event, kept to be reprocessed.
create table unprocessed_deliveries (
    id               uuid primary key,
    provider         text not null,
    account          text not null,
    environment      text not null check (environment in ('test', 'live')),
    reason           text not null check (reason in (
                         'malformed', 'invalid', 'no_ticket', 'unknown_booking', 'unsupported_type', 'refused')),
    detail           text not null,
    body             bytea not null,
    body_hash        bytea not null check (octet_length(body_hash) = 32),
    received_at      timestamptz not null,
    last_received_at timestamptz not null,
    delivery_count   integer not null default 1 check (delivery_count > 0),
    reprocessed_at   timestamptz,
    event_id         uuid references ticket_events (id) on delete set null
);

-- the same body again raises the count of the row that waits to be reprocessed
create unique index unprocessed_deliveries_body on unprocessed_deliveries
    (provider, environment, account, reason, body_hash) where reprocessed_at is null;

comment on table unprocessed_deliveries is 'Authenticated deliveries that could not become a ticket event.';
comment on column unprocessed_deliveries.id is 'The id of the delivery, made when it arrived (UUIDv7).';
comment on column unprocessed_deliveries.provider is 'Who sent it, as in ticket_events.';
comment on column unprocessed_deliveries.account is 'The name of the configured account whose credentials it carried.';
comment on column unprocessed_deliveries.environment is 'The environment of the account, test or live.';
comment on column unprocessed_deliveries.reason is 'malformed (no JSON), invalid (a required field is missing or cannot be used), no_ticket (no ticket number where one is required), unknown_booking (not in bookings), unsupported_type (another notification type), refused (the database refused the row).';
comment on column unprocessed_deliveries.detail is 'The same in words that name the fields.';
comment on column unprocessed_deliveries.body is 'The body as it was sent, less the credentials; bytes, because it need not be text. Where something had to be taken out of a body that is no JSON, its text in UTF-8.';
comment on column unprocessed_deliveries.body_hash is 'SHA-256 over the body.';
comment on column unprocessed_deliveries.received_at is 'When the first delivery with this body arrived.';
comment on column unprocessed_deliveries.last_received_at is 'When the latest delivery with this body arrived.';
comment on column unprocessed_deliveries.delivery_count is 'How many deliveries had this body, while it waited.';
comment on column unprocessed_deliveries.reprocessed_at is 'When it was run through later code with success; null while it waits.';
comment on column unprocessed_deliveries.event_id is 'The ticket event that it became.';

-- The bookings that an agency expects, filled by its own systems.
create table bookings (
    provider    text not null,
    environment text not null check (environment in ('test', 'live')),
    booking_ref text not null,
    primary key (provider, environment, booking_ref)
);

comment on table bookings is 'The bookings that the agency expects. Only read for providers with unknown_booking = "reject", which accept deliveries for these and no others.';
comment on column bookings.provider is 'As in ticket_events.';
comment on column bookings.environment is 'As in ticket_events.';
comment on column bookings.booking_ref is 'As in ticket_events.';
