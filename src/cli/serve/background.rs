//! The tasks in the background, which every replica runs.

use std::sync::{Arc, atomic::AtomicBool};

use crate::{
    lifecycle::{Stage, Tasks},
    reprocess::Reprocessor,
};

pub(super) fn start(tasks: &mut Tasks, reprocessor: Arc<Reprocessor>, schema_ready: Arc<AtomicBool>) {
    let stop = tasks.soft_token(Stage::Intake);
    tasks.spawn("reprocessing", Stage::Intake, async move {
        stop.run_until_cancelled(reprocessor.run(&schema_ready)).await;
        Ok(())
    });
}
