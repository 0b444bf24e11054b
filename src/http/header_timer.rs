//! How long a connection may be idle, and how long the head of a request may take.
//!
//! hyper has one time limit for the head, which it counts from the moment at which it begins to wait for it: an idle
//! connection and one that sends a byte a second are the same to it. They are not to us: an idle one must be kept for
//! longer than a load balancer keeps it, and a slow one must not. hyper makes a [`Sleep`] whenever it begins to wait, and
//! asks it each time there is nothing more to read. The one that it gets here, [`HeaderReadDeadline`], has another
//! deadline once a byte of the head is there, and it is over at once when the connection has to make room. (The beginning
//! of a head that was read together with the request before it is not seen. Until more comes, that connection counts as
//! idle, which it could as well be.)
//!
//! A connection that ends because of it ends without an answer. The bodies have their own limits: see [`super::body`].

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

/// Gives hyper a [`HeaderReadDeadline`] for each head.
pub(super) struct HeaderReadTimer {
    pub(super) state: Arc<ConnectionState>,
    /// From the first byte of a head to its last.
    pub(super) timeout: Duration,
}

impl Timer for HeaderReadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, idle_until: Instant) -> Pin<Box<dyn Sleep>> {
        let state = Arc::clone(&self.state);
        state.waits_for_head();
        let received_before = state.received();
        let sleep = time::sleep_until(idle_until.into());
        Box::pin(HeaderReadDeadline { sleep, state, received_before, has_begun: false, timeout: self.timeout })
    }
}

pin_project! {
    /// The time in which a connection waits for a head and reads it.
    struct HeaderReadDeadline {
        #[pin]
        sleep: time::Sleep,
        state: Arc<ConnectionState>,
        received_before: u64,
        has_begun: bool,
        timeout: Duration,
    }

    impl PinnedDrop for HeaderReadDeadline {
        fn drop(this: Pin<&mut Self>) {
            this.state.head_ended();
        }
    }
}

impl Sleep for HeaderReadDeadline {}

impl Future for HeaderReadDeadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if !*this.has_begun && this.state.received() != *this.received_before {
            *this.has_begun = true;
            this.state.head_begun();
            this.sleep.as_mut().reset(time::Instant::now() + *this.timeout);
        }
        if this.state.is_evicted() {
            return Poll::Ready(());
        }
        this.sleep.poll(context)
    }
}
