//! A bounded amount of memory, given out in permits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per semaphore permit.
const UNIT_BYTES: usize = 1024;

#[derive(Clone)]
pub(super) struct MemoryBudget {
    semaphore: Arc<Semaphore>,
    /// Units of the whole budget.
    units: usize,
}

/// Memory of a budget, given back on drop.
#[derive(Default)]
pub(super) struct MemoryPermit(Option<OwnedSemaphorePermit>);

/// The budget is used up.
pub(super) struct OutOfMemory;

impl MemoryBudget {
    pub(super) fn new(bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Self { semaphore: Arc::new(Semaphore::new(units)), units }
    }

    pub(super) fn total_bytes(&self) -> usize {
        self.units * UNIT_BYTES
    }

    pub(super) fn used_bytes(&self) -> usize {
        (self.units - self.semaphore.available_permits()) * UNIT_BYTES
    }

    /// Extends a permit of this budget to so many bytes. Never waits: a client is better told at once.
    pub(super) fn extend(&self, permit: &mut MemoryPermit, bytes: usize) -> Result<(), OutOfMemory> {
        let held = permit.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(bytes.div_ceil(UNIT_BYTES).saturating_sub(held)).map_err(|_| OutOfMemory)?;
        if missing > 0 {
            let more = Arc::clone(&self.semaphore).try_acquire_many_owned(missing).map_err(|_| OutOfMemory)?;
            match &mut permit.0 {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            }
        }
        Ok(())
    }
}
