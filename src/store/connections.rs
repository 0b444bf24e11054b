//! How many connections the writers have, for the metrics.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The count. Clones are the same count.
#[derive(Clone, Default)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    used: Arc<AtomicUsize>,
}

/// Something that counts until it is dropped.
pub(super) struct Counted(Arc<AtomicUsize>);

impl Connections {
    /// Those that are open and do nothing.
    pub fn idle(&self) -> usize {
        self.open.load(Ordering::Relaxed).saturating_sub(self.used())
    }

    /// Those that do something, be it to connect.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn open_one(&self) -> Counted {
        Counted::new(&self.open)
    }

    pub(super) fn use_one(&self) -> Counted {
        Counted::new(&self.used)
    }
}

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
