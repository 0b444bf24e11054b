//! What Prometheus expects of every process.

use metrics_process::collector::collect;
use prometheus_client::metrics::counter::ConstCounter;

use super::registry::Registry;

/// A value that the operating system does not give is left out.
pub(super) fn register(page: &mut Registry) {
    let process = collect();
    if let Some(seconds) = process.cpu_seconds_total {
        page.register(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            ConstCounter::new(seconds),
        );
    }
    for (name, help, value) in [
        ("process_open_fds", "Number of open file descriptors.", process.open_fds),
        ("process_max_fds", "Maximum number of open file descriptors.", process.max_fds),
        ("process_virtual_memory_bytes", "Virtual memory size in bytes.", process.virtual_memory_bytes),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
            process.virtual_memory_max_bytes,
        ),
        ("process_resident_memory_bytes", "Resident memory size in bytes.", process.resident_memory_bytes),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            process.start_time_seconds,
        ),
        ("process_threads", "Number of OS threads in the process.", process.threads),
    ] {
        if let Some(value) = value {
            page.gauge(name, help, value);
        }
    }
}
