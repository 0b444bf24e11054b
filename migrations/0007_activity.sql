-- What the replicas received, for everybody to see at once. src/activity.rs describes it.

create table delivery_counts (
    since            timestamptz not null,
    provider         text not null,
    environment      text not null check (environment in ('test', 'live', 'none')),
    recorded         bigint not null default 0,
    duplicates       bigint not null default 0,
    unprocessed      bigint not null default 0,
    unauthenticated  bigint not null default 0,
    unreadable       bigint not null default 0,
    unavailable      bigint not null default 0,
    last_received_at timestamptz,
    durations        bigint[] not null,
    -- since first: rows are read and removed by their time
    primary key (since, provider, environment)
);

comment on table delivery_counts is 'What became of the deliveries of all replicas, in periods of ten minutes: added every few seconds, removed after 8 days. For showing, not for accounting: what a replica counted in its last seconds before a crash is missing, and what it wrote when the answer was lost is there twice.';
comment on column delivery_counts.since is 'The start of the period in which the counts were written: ten minutes, from the full hour on. After an outage of the database, deliveries of earlier periods are among them.';
comment on column delivery_counts.provider is 'As in ticket_events.';
comment on column delivery_counts.environment is 'That of the account; none: rejected before the delivery was queued.';
comment on column delivery_counts.recorded is 'Recorded as a new revision, or spooled.';
comment on column delivery_counts.duplicates is 'Duplicates of a revision. Not those that were spooled.';
comment on column delivery_counts.unprocessed is 'Stored in unprocessed_deliveries.';
comment on column delivery_counts.unauthenticated is 'Failed authentications: credentials that are missing, malformed or wrong, or an address that is not allowed.';
comment on column delivery_counts.unreadable is 'Rejected for the body, without a failed authentication: too large, too slow, incomplete, or in an unsupported encoding.';
comment on column delivery_counts.unavailable is 'Answered with an error and kept nowhere: they could not be made durable, or their account was beyond its quota.';
comment on column delivery_counts.last_received_at is 'When the head of the newest of them had arrived.';
comment on column delivery_counts.durations is 'How many of the authenticated deliveries took how long, from the head of the request to the answer: up to 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 seconds, and longer. Each delivery is in one of them.';

create table refused_requests (
    id         bigint generated always as identity primary key,
    at         timestamptz not null,
    provider   text,
    reason     text not null,
    detail     text,
    path       text,
    client     text,
    request_id text,
    requests   bigint not null default 1
);

comment on table refused_requests is 'The newest requests to the public listener that left nothing else behind, as far as they are logged: never a credential or a part of a body. Removed after 15 minutes, and beyond 2,000 rows.';
comment on column refused_requests.id is 'In the order of writing.';
comment on column refused_requests.at is 'When it was answered; of several the last one.';
comment on column refused_requests.provider is 'As in ticket_events; null: the path is no provider''s, or it stands for several.';
comment on column refused_requests.reason is 'credentials_missing, credentials_malformed, credentials_wrong, address_not_allowed: the authentication failed. malformed, unsupported_encoding, too_large, timed_out: the body. not_durable: neither Postgres nor the spool took it. not_kept: its account was beyond its quota. unrouted: a POST to a path that is no provider''s. more: requests that were refused at the same time and have no rows of their own.';
comment on column refused_requests.detail is 'What the log says in addition; it names fields and positions, and repeats no value.';
comment on column refused_requests.path is 'Of unrouted: the path, or [redacted].';
comment on column refused_requests.client is 'The address, of IPv6 the /64. Null: of several, or not known.';
comment on column refused_requests.request_id is 'As in x-request-id and in the log. Null: of several.';
comment on column refused_requests.requests is 'How many requests the row stands for: 1, unless the reason is more.';
