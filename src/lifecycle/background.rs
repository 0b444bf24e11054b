//! Threads with a low priority.

use std::thread::available_parallelism;

#[cfg(target_os = "linux")]
use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};

/// The nice value of the threads: against a thread of normal priority that wants all of a core they get a tenth.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Starts its threads when they are used first.
#[derive(Default)]
pub(super) struct BackgroundRuntime(Option<Runtime>);

impl BackgroundRuntime {
    /// # Panics
    ///
    /// The machine gives no more threads.
    pub(super) fn handle(&mut self) -> &Handle {
        let runtime = self.0.get_or_insert_with(|| {
            let threads = available_parallelism().map_or(2, usize::from);
            let mut builder = Builder::new_multi_thread();
            builder.thread_name("background").worker_threads(threads).on_thread_start(lower_priority).enable_all();
            builder.build().expect("at the start of the service a few more threads can be made")
        });
        runtime.handle()
    }
}

impl Drop for BackgroundRuntime {
    fn drop(&mut self) {
        // waiting for the threads is not possible within a task
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux a priority is that of a thread; elsewhere it would be that of the process.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = setpriority_process(None, NICE) {
        tracing::warn!(%error, "a thread of the background has the priority of the others");
    }
}
