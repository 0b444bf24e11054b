//! Standard error, written by a thread of its own.
//!
//! A system call for every line costs as much as making the line, and a reader that stops reading would stop whoever
//! logs. So lines are gathered in memory for a few milliseconds. When a few megabytes have gathered, those who log wait:
//! no line is left out. Lines of the last moment are lost only when the process is killed.

use std::{
    io::{self, Write},
    panic,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered.
const GATHERED: Duration = Duration::from_millis(5);

/// The most bytes in memory.
const LIMIT: usize = 4 * 1024 * 1024;

/// See the module. Clones are the same.
#[derive(Clone)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    filled: Condvar,
    /// There is room again, and nothing is being written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    is_writing: bool,
}

impl Writer {
    /// Starts the thread, which lives as long as the process.
    ///
    /// # Errors
    ///
    /// The operating system refuses it.
    pub(super) fn start() -> io::Result<Self> {
        let writer = Self(Arc::default());
        let shared = Arc::clone(&writer.0);
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_for_ever())?;
        Ok(writer)
    }

    /// Writes what is in memory; it is written when this returns.
    pub(super) fn flush(&self) {
        let state = self.0.state();
        let mut state =
            self.0.written.wait_while(state, |state| state.is_writing).unwrap_or_else(PoisonError::into_inner);
        // nobody is left who could be told of an error
        let _ = io::stderr().write_all(&state.lines);
        state.lines.clear();
    }

    /// What was logged before a panic stands before its message.
    pub(super) fn flush_before_panics(self) {
        let and_then = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            self.flush();
            and_then(panic);
        }));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_for_ever(&self) {
        let mut lines = Vec::new();
        loop {
            let state = self.state();
            drop(self.filled.wait_while(state, |state| state.lines.is_empty()));
            thread::sleep(GATHERED);
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

impl<'a> MakeWriter<'a> for Writer {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Writer {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.lines.len() >= LIMIT {
            state = self
                .0
                .written
                .wait_while(state, |state| state.lines.len() >= LIMIT)
                .unwrap_or_else(PoisonError::into_inner);
        }
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
            let writer = Writer::start().unwrap();
            writer.clone().flush_before_panics();
            for line in ["one", "two"] {
                writeln!(&writer, "logged {line}").unwrap();
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
