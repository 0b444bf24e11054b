-- Forwards: the events, sent on to the agency's own systems. src/forward.rs describes them.

create table forwards (
    name         text primary key references consumers on delete cascade,
    scanned      text not null,
    version      bigint not null default 0,
    holder       uuid,
    leased_until timestamptz,
    paused_at    timestamptz,
    pause_reason text check (pause_reason in ('operator', 'gone')),
    resumes      integer not null default 0,
    not_before   timestamptz,
    check ((paused_at is null) = (pause_reason is null))
);

comment on table forwards is 'The forwards that were configured ([forward.NAME]), each with how far it is and which replica works on it.';
comment on column forwards.name is 'The consumer whose position this is: forward-NAME.';
comment on column forwards.scanned is 'A cursor: every item up to there is delivered, skipped, not wanted, or in forward_items.';
comment on column forwards.version is 'How often the holder recorded something. Another number than the holder knows: the database was recovered to an earlier point in time.';
comment on column forwards.holder is 'The replica that forwards: an id that it gave itself. Null: none.';
comment on column forwards.leased_until is 'Until then no other replica takes over. The holder moves it on.';
comment on column forwards.paused_at is 'Since when nothing is sent; null: it is not paused.';
comment on column forwards.pause_reason is 'operator: POST /v1/forwards/{name}/pause. gone: the receiver answered 410.';
comment on column forwards.not_before is 'The receiver asked with Retry-After that nothing is sent before; null: it did not.';
comment on column forwards.resumes is 'How often it was resumed: each time the holder tries at once what waits.';

create table forward_items (
    forward          text not null references forwards on delete cascade,
    id               uuid not null,
    generation       integer not null,
    recorded_xid     bigint not null,
    sequence         bigint not null,
    preceding        text not null,
    provider         text not null,
    environment      text not null,
    booking_ref      text not null,
    recorded_at      timestamptz not null,
    attempts         integer not null,
    first_attempt_at timestamptz,
    last_attempt_at  timestamptz,
    last_outcome     text,
    next_attempt_at  timestamptz,
    primary key (forward, id)
);

comment on table forward_items is 'Items of the feed that a forward has passed, and could not deliver yet.';
comment on column forward_items.forward is 'forwards.name.';
comment on column forward_items.id is 'Of the item.';
comment on column forward_items.generation is 'As in ticket_events.';
comment on column forward_items.recorded_xid is 'As in ticket_events.';
comment on column forward_items.sequence is 'As in ticket_events.';
comment on column forward_items.preceding is 'The cursor of the item before it in the feed.';
comment on column forward_items.provider is 'As in ticket_events.';
comment on column forward_items.environment is 'As in ticket_events.';
comment on column forward_items.booking_ref is 'As in ticket_events.';
comment on column forward_items.recorded_at is 'As in ticket_events.';
comment on column forward_items.attempts is 'Failed attempts. 0: it is being sent, or waits for an earlier item of its booking.';
comment on column forward_items.first_attempt_at is 'When it was tried first; null: never.';
comment on column forward_items.last_attempt_at is 'When it was tried last; null: never.';
comment on column forward_items.last_outcome is 'What became of the last attempt: an outcome as in the metrics, and the HTTP status where there was one.';
comment on column forward_items.next_attempt_at is 'When it is to be tried again; null: as soon as it is its turn.';

create table forward_skips (
    forward      text not null references forwards on delete cascade,
    id           uuid not null,
    provider     text not null,
    environment  text not null,
    booking_ref  text not null,
    attempts     integer not null,
    last_outcome text,
    skipped_at   timestamptz not null default now(),
    primary key (forward, id)
);

comment on table forward_skips is 'Items that were given up by POST /v1/forwards/{name}/skip: the receiver never confirmed them.';
comment on column forward_skips.forward is 'forwards.name.';
comment on column forward_skips.id is 'Of the item.';
comment on column forward_skips.provider is 'As in ticket_events.';
comment on column forward_skips.environment is 'As in ticket_events.';
comment on column forward_skips.booking_ref is 'As in ticket_events.';
comment on column forward_skips.attempts is 'Attempts that had failed by then.';
comment on column forward_skips.last_outcome is 'What became of the last of them.';
comment on column forward_skips.skipped_at is 'When it was skipped.';

create view blocked_forward_items as
select *
from forward_items
where attempts > 0
and not exists (
    select from forward_skips
    where forward_skips.forward = forward_items.forward and forward_skips.id = forward_items.id
);

comment on view blocked_forward_items is 'Items that were tried and could not be delivered. Later items of their bookings wait for them.';
