//! The tasks in the background that no delivery waits for.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    config::PrivacySettings,
    erase::keep_to_retention,
    lifecycle::{Stage, Tasks},
    store::Pool,
};

pub(super) fn start(tasks: &mut Tasks, pool: &Pool, schema_ready: &Arc<AtomicBool>, privacy: &PrivacySettings) {
    if let Some(days) = privacy.retention_days {
        let (stop, pool, schema_ready) = (tasks.soft_token(Stage::Intake), pool.clone(), Arc::clone(schema_ready));
        tasks.spawn("retention", Stage::Intake, async move {
            stop.run_until_cancelled(keep_to_retention(pool, days, schema_ready)).await;
            Ok(())
        });
    }
}
