//! Polls a connection once more when it has woken itself.
//!
//! hyper wakes the task of a connection, which is running, whenever a handler takes a part of a body. The scheduler would put
//! the task behind the others, and wake another thread to look for work.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Wakes a task unless it is polling.
struct PollingWaker {
    task: Waker,
    is_polling: AtomicBool,
    is_woken: AtomicBool,
}

impl Wake for PollingWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The poll resets and reads them in the reverse order: one of both sees the other. Both swap, so that a poll that resets
        // this also sees what the one that wakes has done before.
        self.is_woken.swap(true, SeqCst);
        if !self.is_polling.load(SeqCst) {
            self.task.wake_by_ref();
        }
    }
}

impl PollingWaker {
    /// Also returns whether it was woken meanwhile.
    fn while_polling<T>(&self, poll: impl FnOnce() -> Poll<T>) -> (Poll<T>, bool) {
        self.is_woken.swap(false, SeqCst);
        self.is_polling.store(true, SeqCst);
        let polled = poll();
        self.is_polling.store(false, SeqCst);
        (polled, self.is_woken.load(SeqCst))
    }
}

/// Runs a future in one task: the waker of its first poll stays.
pub(super) async fn absorb_self_wakes<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut wakers = None;
    poll_fn(move |context| {
        let (state, waker) = wakers.get_or_insert_with(|| {
            let (is_polling, is_woken) = (AtomicBool::new(false), AtomicBool::new(false));
            let state = Arc::new(PollingWaker { task: context.waker().clone(), is_polling, is_woken });
            (Arc::clone(&state), Waker::from(state))
        });
        // not more often: others are to run, too
        for _ in 0..2 {
            let poll = || future.as_mut().poll(&mut Context::from_waker(waker));
            match state.while_polling(poll) {
                (Poll::Pending, true) => {}
                (polled, _) => return polled,
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    /// Polls a future that wakes itself in its first polls, so many of them, and keeps its waker. Returns how often it was
    /// polled, and its task woken, in one poll, and whether it can still wake its task.
    fn poll_once(self_wakes: usize) -> (usize, usize, bool) {
        let (mut polls, mut kept) = (0, None);
        let task = Arc::new(CountingWaker::default());
        let future = poll_fn(|context| {
            polls += 1;
            kept = Some(context.waker().clone());
            if polls <= self_wakes {
                context.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        let mut absorbing = Box::pin(absorb_self_wakes(future));
        let waker = Waker::from(Arc::clone(&task));
        assert!(absorbing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(absorbing);
        let woken = task.0.load(SeqCst);
        kept.unwrap().wake();
        (polls, woken, task.0.load(SeqCst) == woken + 1)
    }

    #[test]
    fn a_self_wake_is_another_poll_and_wakes_no_task() {
        assert_eq!(poll_once(0), (1, 0, true));
        assert_eq!(poll_once(1), (2, 0, true));
    }

    #[test]
    fn self_wakes_without_end_let_others_run() {
        assert_eq!(poll_once(100), (2, 1, true));
    }

    #[test]
    fn a_wake_from_another_thread_is_not_lost() {
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = Arc::clone(&ready);
        let mut waker_of_other = None;
        let future = absorb_self_wakes(poll_fn(move |context| {
            let (ready, waker) = (Arc::clone(&ready), context.waker().clone());
            waker_of_other.get_or_insert_with(|| {
                std::thread::spawn(move || {
                    ready.store(true, SeqCst);
                    waker.wake();
                })
            });
            if is_ready.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        }));
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    }
}
