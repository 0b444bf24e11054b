-- The order of the feed's items within one transaction, of all tables.
create sequence ticket_feed_sequence;

-- One row for each revision of a booking: each time that its content changed.
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
    -- raised by `migrate` in a restored database, by another default
    generation       integer not null default 1,
    recorded_xid     xid8 not null default pg_current_xact_id(),
    sequence         bigint not null default nextval('ticket_feed_sequence'),
    -- Lets only one replica number a revision: the others conflict and decide again. Also finds the newest revision.
    unique (provider, environment, booking_ref, revision)
);

comment on table ticket_events is 'What providers sent about bookings: one row for each delivery with new content (a revision). A revision replaces the one before and is not merged with it. The state of a booking is its newest revision that is not late.';
comment on column ticket_events.id is 'The id of the delivery: a UUIDv7, made at receipt.';
comment on column ticket_events.provider is 'The provider that sent it: ticket_status_update, booking_callback, order_ticketed.';
comment on column ticket_events.account is 'The name of the configured account whose credentials it carried. Not part of the key, so that a rotated secret does not begin a booking anew.';
comment on column ticket_events.environment is 'The environment of the account, test or live. Part of the key, so that a test account never changes a live booking.';
comment on column ticket_events.booking_ref is 'The provider''s own key of the booking: BookingTransactionRef, BookingId, data.orderNo.';
comment on column ticket_events.revision is '1, 2, 3… within one booking, in the order of recording.';
comment on column ticket_events.late is 'True if it was recorded after deliveries that were received later, because it waited in a spool. Never the state of the booking.';
comment on column ticket_events.status is 'The status of the booking.';
comment on column ticket_events.previous_status is 'The status before this delivery; null on the first revision.';
comment on column ticket_events.pnr is 'The booking''s own record locator, upper case.';
comment on column ticket_events.gds_pnr is 'The record locator in the distribution system, upper case.';
comment on column ticket_events.airline_pnrs is 'The airlines'' record locators of the booking and its passengers, upper case, each once, in their order.';
comment on column ticket_events.booking_number is 'The number under which the provider shows the booking to people (BookingRefNumber).';
comment on column ticket_events.trace_id is 'The provider''s id of the request (TraceId). Not compared between deliveries.';
comment on column ticket_events.provider_status is 'The provider''s internal status (the top-level status of order_ticketed). It decides nothing and is not compared between deliveries.';
comment on column ticket_events.remark is 'Free text of the provider; for failed and aborted the reason.';
comment on column ticket_events.passengers is 'The passengers, in their order: title, first_name, middle_name, last_name, type, gender, birth_date, nationality, document {type, number, issued_by, expires_on}, tickets [{raw, number}], and for order_ticketed airline_pnrs and ancillaries (as sent). Members that were not sent are left out.';
comment on column ticket_events.ticket_numbers is 'The ticket numbers of all passengers, upper case, without white space and dashes, each once, in their order.';
comment on column ticket_events.warnings is 'What was missing or odd in the delivery. Names fields, never repeats values.';
comment on column ticket_events.payload is 'The JSON as it was sent, without the credentials; elsewhere a configured secret that is a whole word is [redacted]. json, because jsonb refuses \u0000 and lone surrogates.';
comment on column ticket_events.content_hash is 'SHA-256 over the payload without the members that differ from delivery to delivery (TraceId, EndUserIp; the top-level status of order_ticketed), independent of white space, escapes and the order of members. A delivery with the hash of the booking''s state is a duplicate.';
comment on column ticket_events.received_at is 'When the first delivery of this revision was received.';
comment on column ticket_events.recorded_at is 'When this row was written.';
comment on column ticket_events.last_received_at is 'When the latest delivery of this revision was received.';
comment on column ticket_events.delivery_count is 'The number of deliveries with this content: the first and its duplicates.';
comment on column ticket_events.generation is 'Raised when the database was restored into another cluster, whose transaction ids begin anew.';
comment on column ticket_events.recorded_xid is 'The transaction that wrote this row. (generation, recorded_xid, sequence) is the order of the feed, which no longer changes below the oldest running transaction.';
comment on column ticket_events.sequence is 'The order of the rows within one transaction.';

create index ticket_events_feed on ticket_events (generation, recorded_xid, sequence);

-- Authenticated deliveries that could not become a ticket event, to be reprocessed.
create table unprocessed_deliveries (
    id               uuid primary key,
    provider         text not null,
    account          text not null,
    environment      text not null check (environment in ('test', 'live')),
    reason           text not null check (reason in (
                         'malformed', 'invalid', 'no_ticket', 'unknown_booking', 'unsupported_type', 'refused')),
    detail           text not null,
    booking_ref      text,
    body             bytea not null,
    body_hash        bytea not null check (octet_length(body_hash) = 32),
    received_at      timestamptz not null,
    last_received_at timestamptz not null,
    delivery_count   integer not null default 1 check (delivery_count > 0),
    reprocessed_at   timestamptz,
    event_id         uuid references ticket_events (id) on delete set null
);

-- a repeated body raises the count of its row until that is reprocessed
create unique index unprocessed_deliveries_body on unprocessed_deliveries
    (provider, environment, account, reason, body_hash) where reprocessed_at is null;

-- those that wait, in the order of receipt
create index unprocessed_deliveries_waiting on unprocessed_deliveries (id) where reprocessed_at is null;

-- finds those whose booking was announced since
create index unprocessed_deliveries_unknown_booking on unprocessed_deliveries (provider, environment, booking_ref)
    where reason = 'unknown_booking' and reprocessed_at is null;

comment on table unprocessed_deliveries is 'Authenticated deliveries that could not become a ticket event.';
comment on column unprocessed_deliveries.id is 'The id of the delivery: a UUIDv7, made at receipt.';
comment on column unprocessed_deliveries.provider is 'The provider that sent it, as in ticket_events.';
comment on column unprocessed_deliveries.account is 'The name of the configured account whose credentials it carried.';
comment on column unprocessed_deliveries.environment is 'The environment of the account, test or live.';
comment on column unprocessed_deliveries.reason is 'malformed (not JSON), invalid (a required field is missing or unusable), no_ticket (no ticket number where one is required), unknown_booking (not in bookings), unsupported_type (another type of notification), refused (the database refused the row).';
comment on column unprocessed_deliveries.detail is 'The reason in words that name the fields.';
comment on column unprocessed_deliveries.booking_ref is 'As in ticket_events, where it is known; always for unknown_booking.';
comment on column unprocessed_deliveries.body is 'The body as it was sent, without the credentials; bytes, because it may not be text. If something was removed from a body that is not JSON: its text in UTF-8.';
comment on column unprocessed_deliveries.body_hash is 'SHA-256 over the body.';
comment on column unprocessed_deliveries.received_at is 'When the first delivery with this body was received.';
comment on column unprocessed_deliveries.last_received_at is 'When the latest delivery with this body was received.';
comment on column unprocessed_deliveries.delivery_count is 'The number of deliveries with this body until it was reprocessed.';
comment on column unprocessed_deliveries.reprocessed_at is 'When it became the event of event_id, or was counted as a repetition of it; null until then.';
comment on column unprocessed_deliveries.event_id is 'The ticket event that it became or repeats.';

-- The bookings that an agency expects, filled by its own systems.
create table bookings (
    provider    text not null check (provider in ('ticket_status_update', 'booking_callback', 'order_ticketed')),
    environment text not null check (environment in ('test', 'live')),
    -- as deliveries have it: neither empty nor with white space around it
    booking_ref text not null check (booking_ref !~ '^\s|\s$' and length(booking_ref) between 1 and 255),
    primary key (provider, environment, booking_ref)
);

comment on table bookings is 'The bookings that the agency expects. Read only for providers with unknown_booking = "reject", which accept deliveries for no other bookings.';
comment on column bookings.provider is 'As in ticket_events.';
comment on column bookings.environment is 'As in ticket_events.';
comment on column bookings.booking_ref is 'As in ticket_events.';
