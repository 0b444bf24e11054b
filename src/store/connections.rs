//! How many connections the writers have, for the metrics: they are not the pool's.

use std::sync::Arc;

/// Clones count together.
#[derive(Clone, Default)]
pub struct WriterConnections(Arc<GuardCounts>);

/// A number is the references to its guard, less this one.
#[derive(Default)]
struct GuardCounts {
    open: ConnectionGuard,
    used: ConnectionGuard,
}

/// Counts as one until it is dropped.
pub(super) type ConnectionGuard = Arc<()>;

impl WriterConnections {
    /// Connections that are open and not in use.
    pub fn idle(&self) -> usize {
        count(&self.0.open).saturating_sub(self.used())
    }

    /// Connections in use, those being opened included.
    pub fn used(&self) -> usize {
        count(&self.0.used)
    }

    pub(super) fn count_open(&self) -> ConnectionGuard {
        Arc::clone(&self.0.open)
    }

    pub(super) fn count_used(&self) -> ConnectionGuard {
        Arc::clone(&self.0.used)
    }
}

fn count(guard: &ConnectionGuard) -> usize {
    Arc::strong_count(guard) - 1
}
