//! The names of the metrics and what they mean, as a scrape and the README say it.

use ::metrics::{Recorder, Unit};

pub(super) const DELIVERIES: &str = "ticket_webhooks_deliveries_total";
pub(super) const PHASE_DURATION: &str = "ticket_webhooks_phase_duration_seconds";
pub(super) const BATCH_SIZE: &str = "ticket_webhooks_batch_size";
pub(super) const QUEUE_DELIVERIES: &str = "ticket_webhooks_queue_deliveries";
pub(super) const QUEUE_CAPACITY: &str = "ticket_webhooks_queue_capacity";
pub(super) const QUEUE_MEMORY: &str = "ticket_webhooks_queue_memory_bytes";
pub(super) const QUEUE_MEMORY_LIMIT: &str = "ticket_webhooks_queue_memory_limit_bytes";
pub(super) const BODY_MEMORY: &str = "ticket_webhooks_body_memory_bytes";
pub(super) const BODY_MEMORY_LIMIT: &str = "ticket_webhooks_body_memory_limit_bytes";
pub(super) const CONNECTIONS: &str = "ticket_webhooks_connections";
pub(super) const CONNECTIONS_LIMIT: &str = "ticket_webhooks_connections_limit";
pub(super) const CONNECTIONS_EVICTED: &str = "ticket_webhooks_connections_evicted_total";
pub(super) const CONNECTIONS_REFUSED: &str = "ticket_webhooks_connections_refused_total";
pub(super) const REVISIONS: &str = "ticket_webhooks_revisions_total";
pub(super) const CONFLICTS: &str = "ticket_webhooks_conflicts_total";
pub(super) const WARNINGS: &str = "ticket_webhooks_warnings_total";
pub(super) const UNPROCESSED: &str = "ticket_webhooks_unprocessed_total";
pub(super) const NOT_KEPT: &str = "ticket_webhooks_unprocessed_not_kept_total";
pub(super) const AUTHENTICATION_FAILURES: &str = "ticket_webhooks_authentication_failures_total";
pub(super) const UNROUTED: &str = "ticket_webhooks_unrouted_requests_total";
pub(super) const ADMIN_AUTHENTICATION_FAILURES: &str = "ticket_webhooks_admin_authentication_failures_total";
pub(super) const SPOOL_ENABLED: &str = "ticket_webhooks_spool_enabled";
pub(super) const SPOOL_RECORDS: &str = "ticket_webhooks_spool_records";
pub(super) const SPOOL_BYTES: &str = "ticket_webhooks_spool_bytes";
pub(super) const SPOOL_LIMIT: &str = "ticket_webhooks_spool_limit_bytes";
pub(super) const SPOOL_OLDEST_AGE: &str = "ticket_webhooks_spool_oldest_age_seconds";
pub(super) const SPOOL_SPOOLED: &str = "ticket_webhooks_spool_spooled_total";
pub(super) const SPOOL_DRAINED: &str = "ticket_webhooks_spool_drained_total";
pub(super) const SPOOL_FILES_SET_ASIDE: &str = "ticket_webhooks_spool_files_set_aside_total";
pub(super) const SPOOL_FILES_GONE: &str = "ticket_webhooks_spool_files_gone_total";
pub(super) const SPOOL_RECORDS_DAMAGED: &str = "ticket_webhooks_spool_records_damaged_total";
pub(super) const SPOOL_FILES_ASIDE: &str = "ticket_webhooks_spool_files_aside";
pub(super) const DATABASE_UP: &str = "ticket_webhooks_database_up";
pub(super) const DATABASE_CONNECTIONS: &str = "ticket_webhooks_database_connections";
pub(super) const DATABASE_CONNECTIONS_LIMIT: &str = "ticket_webhooks_database_connections_limit";
pub(super) const READY: &str = "ticket_webhooks_ready";
pub(super) const LAST_DELIVERY_AGE: &str = "ticket_webhooks_last_delivery_age_seconds";
pub(super) const BUILD_INFO: &str = "ticket_webhooks_build_info";
pub(super) const START_TIME: &str = "ticket_webhooks_start_time_seconds";

const COUNTERS: &[(&str, &str)] = &[
    (
        DELIVERIES,
        "Deliveries by what became of them; environment is the account's, or none for what was refused before it was \
         handed in to be made durable. Requests with another method than POST are none.",
    ),
    (REVISIONS, "Revisions recorded in Postgres, directly or out of the spool."),
    (
        CONFLICTS,
        "Revisions that changed a final status, also to one that is not final; final are ticketed, failed, aborted and \
         cancelled.",
    ),
    (WARNINGS, "Warnings on recorded revisions: fields that were missing or odd."),
    (
        UNPROCESSED,
        "Authenticated deliveries kept in unprocessed_deliveries, directly or out of the spool; provider is unknown for \
         what cannot be read any more.",
    ),
    (
        NOT_KEPT,
        "Authenticated deliveries that were answered with an error and not kept: their account had more than 1,000 \
         different ones, or 16 MiB of them, in a minute.",
    ),
    (
        AUTHENTICATION_FAILURES,
        "Deliveries with a missing, malformed or wrong credential, or from a network that is not allowed.",
    ),
    (
        ADMIN_AUTHENTICATION_FAILURES,
        "Requests to the admin listener with a missing or wrong token, those for health and metrics aside.",
    ),
    (UNROUTED, "POST requests to the public listener at a path that is no provider's: one may have a wrong URL."),
    (CONNECTIONS_EVICTED, "Connections that were asked to make room for others, the slowest first, by listener."),
    (CONNECTIONS_REFUSED, "Connections that were answered 503 because there were too many, by listener."),
    (SPOOL_SPOOLED, "Deliveries synced to the spool because Postgres did not take them."),
    (SPOOL_DRAINED, "Deliveries moved from the spool to Postgres."),
    (
        SPOOL_FILES_SET_ASIDE,
        "Files of the spool that were damaged and set aside; what is whole in them was taken over.",
    ),
    (SPOOL_FILES_GONE, "How often the spool's file was deleted or replaced under the service; its records were kept."),
    (SPOOL_RECORDS_DAMAGED, "Acknowledged deliveries in the spool that are damaged and did not come out of it."),
];

const GAUGES: &[(&str, &str)] = &[
    (QUEUE_DELIVERIES, "Deliveries waiting for a batch."),
    (QUEUE_CAPACITY, "Deliveries that may wait for a batch; beyond it they are refused."),
    (QUEUE_MEMORY, "Memory of deliveries that wait for a batch or are being written, in bytes."),
    (QUEUE_MEMORY_LIMIT, "Memory that such deliveries may have, in bytes; beyond it they are refused."),
    (BODY_MEMORY, "Memory counted for bodies that are being taken in, beyond the first 16 KiB of each, in bytes."),
    (BODY_MEMORY_LIMIT, "Memory that bodies may have, in bytes (server.body_memory_bytes)."),
    (CONNECTIONS, "Open connections to the public listener."),
    (
        CONNECTIONS_LIMIT,
        "Connections that the public listener takes at once: server.max_connections, or what the limit for open files allows.",
    ),
    (SPOOL_ENABLED, "Whether there is a spool (spool.directory): 1 or 0."),
    (SPOOL_RECORDS, "Deliveries in the spool."),
    (SPOOL_BYTES, "Bytes of deliveries in the spool."),
    (SPOOL_LIMIT, "Bytes of deliveries that the spool may hold (spool.max_bytes); 0 without a spool."),
    (SPOOL_OLDEST_AGE, "Time since the oldest delivery in the spool was received, in seconds; 0 when it is empty."),
    (SPOOL_FILES_ASIDE, "Files that were set aside and lie in the spool's directory until somebody removes them."),
    (DATABASE_UP, "Whether Postgres took writes when this was scraped: 1 or 0."),
    (DATABASE_CONNECTIONS, "Connections to Postgres by state: idle or used."),
    (DATABASE_CONNECTIONS_LIMIT, "Connections to Postgres that may be open (database.max_connections)."),
    (READY, "Whether a delivery can be made durable now, as /readyz says: 1 or 0."),
    (
        LAST_DELIVERY_AGE,
        "Time since the last authenticated delivery, in seconds; since the start when there was none yet.",
    ),
    (BUILD_INFO, "1; the version is a label."),
    (START_TIME, "When the service started, in seconds since 1970."),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (
        PHASE_DURATION,
        "Time in a phase, in seconds: authenticate (with decompressing and parsing), normalize, wait (for the batch to \
         begin), commit (of a batch, counted once), whole (from the head of the request to the answer, the arrival of \
         the body included; authenticated deliveries only).",
    ),
    (BATCH_SIZE, "Deliveries in a batch, that is, in one commit or one sync of the spool."),
];

pub(super) fn describe(recorder: &impl Recorder) {
    for (name, help) in COUNTERS {
        recorder.describe_counter((*name).into(), Some(Unit::Count), (*help).into());
    }
    for (name, help) in GAUGES {
        recorder.describe_gauge((*name).into(), None, (*help).into());
    }
    for (name, help) in HISTOGRAMS {
        recorder.describe_histogram((*name).into(), None, (*help).into());
    }
}
