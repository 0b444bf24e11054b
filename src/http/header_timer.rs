//! The idle timeout and the header read timeout of a connection: one hyper timer serves both, idle until a byte arrives,
//! then header read.
//!
//! hyper has one timeout for both, from the moment at which it begins to wait for a head (hyperium/hyper#1628 asks for
//! two, hyperium/hyper#3743 for an idle timeout; neither is in it). An idle connection must outlive a load balancer's idle timeout; a slow head must
//! not last that long. hyper creates a [`Sleep`] when it begins to wait for a head, polls it whenever there is nothing more
//! to read, and drops it when the head is complete. The one from here moves its deadline once a byte of the head has
//! arrived, and fires at once when the connection is evicted.
//!
//! A connection that times out here is closed without an answer. Limitation: pipelined bytes count as idle, until more
//! arrives. Bodies have their own limits:
//! see [`super::body`].

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use pin_project_lite::pin_project;
use tokio::time;

use super::connection_state::ConnectionState;

/// Its sleeps end after hyper's duration while idle, and after `head_timeout` once a head has begun.
pub(super) struct IdleThenHeadTimer {
    pub(super) state: Arc<ConnectionState>,
    /// From the first byte of a head to its last.
    pub(super) head_timeout: Duration,
}

impl Timer for IdleThenHeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, idle_deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let state = Arc::clone(&self.state);
        state.begin_idle();
        let received_before = state.received();
        let sleep = time::sleep_until(idle_deadline.into());
        let head_timeout = self.head_timeout;
        Box::pin(IdleThenHeadDeadline { sleep, state, received_before, head_has_begun: false, head_timeout })
    }
}

pin_project! {
    struct IdleThenHeadDeadline {
        #[pin]
        sleep: time::Sleep,
        state: Arc<ConnectionState>,
        received_before: u64,
        head_has_begun: bool,
        head_timeout: Duration,
    }

    impl PinnedDrop for IdleThenHeadDeadline {
        fn drop(this: Pin<&mut Self>) {
            this.state.end_head();
        }
    }
}

impl Sleep for IdleThenHeadDeadline {}

impl Future for IdleThenHeadDeadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.head_has_begun && this.state.received() != *this.received_before {
            *this.head_has_begun = true;
            this.state.begin_head();
            this.sleep.as_mut().reset(time::Instant::now() + *this.head_timeout);
        }
        if this.state.is_evicted() {
            return Poll::Ready(());
        }
        this.sleep.poll(context)
    }
}
