//! The SQL of the service: what is stored in Postgres.
//!
//! Invariants:
//!
//! - A delivery's id is stored once, however often the delivery is handed in.
//! - A revision of a booking is stored by one replica only: the unique key of `ticket_events` makes the others retry.
//! - The events of a batch are few statements, each a transaction of its own (see `record`).
//! - The feed is read in the order (`generation`, `recorded_xid`, `sequence`). That order is right only if the insert of an
//!   event or a notice is the first write of its transaction (see `feed`).

mod activity;
mod bookings;
mod connections;
mod consumers;
mod equal_deliveries;
mod erase;
mod error;
mod event_columns;
mod feed;
mod forwards;
mod migrations;
mod pool;
mod quota;
mod reconciliation;
mod record;
mod reprocess;
mod search;
mod session;
mod unprocessed;
mod writer;

pub(crate) use self::error::is_serialization_failure;
pub use self::{
    activity::{AddedCounts, AddedRefusal, DeliveryCounts, RefusedRequest},
    bookings::{
        Announced, BookingCount, BookingFilter, BookingKey, BookingKind, BookingRange, BookingRevision, BookingState,
        Compared, ExpectedBy, MAX_BOOKING_REVISIONS,
    },
    connections::WriterConnections,
    consumers::{Consumer, MAX_CONSUMERS, SetPosition},
    erase::{EraseTarget, Erasure, ErasureRecord, FoundBody, Person, RequestedBy, Source},
    error::StoreError,
    feed::{
        Content, Cursor, Erased, FeedError, Filter, HeldBack, InvalidCursor, Item, Items, MAX_PAGE_BYTES, Order,
        Overdue, Position, Revision,
    },
    forwards::{
        AcquiredForward, BlockedItem, ForwardControl, ForwardItem, ForwardProgress, ForwardStatus, LEASE_SECONDS,
        PauseReason, SkippedItem,
    },
    migrations::{MigrationError, Pending, migrate, wait_for_schema},
    pool::Pool,
    quota::{Destination, MAX_BODIES_PER_MINUTE, MAX_BYTES_PER_MINUTE, MAX_SAME_BODIES_IN_SPOOL, UnprocessedQuota},
    reconciliation::{DifferenceKind, Period, ReconciliationRow},
    reprocess::{Reprocessed, Reprocessing},
    search::{Direction, Indexed},
    unprocessed::{UnprocessedFilter, UnprocessedRow},
    writer::Writer,
};
