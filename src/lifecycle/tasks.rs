//! The background tasks of the service.
//!
//! Invariants:
//!
//! - Every task has a [`Stage`]; a task that ends or panics before its stage was stopped is a failure, whenever that
//!   happens, also during the shutdown.
//! - No task spawned here outlives its [`Tasks`]; tasks of connections are spawned by the listeners.
//!
//! Tasks in the background run on threads of their own with a low priority: what is done for readers of the feed does not take the
//! processor from deliveries.
//!
//! A stage has a soft token, which asks its tasks to finish ([`Tasks::stop`]). Above them all is a hard token, which ends
//! every task at its next await ([`Tasks::abort`]).

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::background::BackgroundRuntime;

/// The stages of the shutdown, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// What brings work in: the listeners, and everything beside them that nothing below needs.
    Intake,
    /// The batchers and committers, which finish what is queued.
    Commit,
    /// The drainer of the spool, and the last write of what was received.
    Drain,
}

impl Stage {
    const COUNT: usize = 3;
}

/// Owner of the background tasks.
pub struct Tasks {
    running: JoinSet<anyhow::Result<()>>,
    /// The name and the stage of every running task.
    started: HashMap<Id, (&'static str, Stage)>,
    /// By stage; each is a child of the hard token.
    soft: [CancellationToken; Stage::COUNT],
    hard: CancellationToken,
    background: BackgroundRuntime,
}

impl Default for Tasks {
    fn default() -> Self {
        let hard = CancellationToken::new();
        Self {
            running: JoinSet::new(),
            started: HashMap::new(),
            soft: std::array::from_fn(|_| hard.child_token()),
            hard,
            background: BackgroundRuntime::default(),
        }
    }
}

impl Tasks {
    /// The token that asks the tasks of a stage to finish.
    pub fn soft_token(&self, stage: Stage) -> CancellationToken {
        self.soft[stage as usize].clone()
    }

    /// Starts a task, which is to run until its stage is stopped.
    pub fn spawn(
        &mut self,
        name: &'static str,
        stage: Stage,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let task = self.running.spawn(until_aborted(self.hard.clone(), task));
        self.started.insert(task.id(), (name, stage));
    }

    /// The same, on the threads with a low priority.
    pub fn spawn_in_background(
        &mut self,
        name: &'static str,
        stage: Stage,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let task = self.running.spawn_on(until_aborted(self.hard.clone(), task), self.background.handle());
        self.started.insert(task.id(), (name, stage));
    }

    /// Waits for the first failure. A task that ends as it should is none; cancel safe.
    pub async fn failed(&mut self) -> anyhow::Error {
        loop {
            match self.running.join_next_with_id().await {
                Some(ended) => {
                    if let Err(error) = self.judge(ended) {
                        return error;
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Asks the tasks of a stage to finish, and waits until they have.
    ///
    /// # Errors
    ///
    /// A task of this stage failed, or one of a stage that was not stopped ended.
    pub async fn stop(&mut self, stage: Stage) -> anyhow::Result<()> {
        self.soft[stage as usize].cancel();
        while self.started.values().any(|(_, other)| *other == stage) {
            let ended = self.running.join_next_with_id().await;
            self.judge(ended.context("a started task is running until it is joined")?)?;
        }
        Ok(())
    }

    /// Ends all tasks at their next await, without waiting for them. Their ends are no failures any more.
    pub fn abort(&mut self) {
        self.hard.cancel();
    }

    fn judge(&mut self, ended: Result<(Id, anyhow::Result<()>), JoinError>) -> anyhow::Result<()> {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let (name, stage) = self.started.remove(&id).context("every task is registered when it starts")?;
        match ended {
            Ok((_, result)) if result.is_err() || self.soft[stage as usize].is_cancelled() => result,
            Ok(_) => Err(anyhow!("a task ended before it was asked to: {name}")),
            Err(error) => Err(error).with_context(|| format!("a task ended: {name}")),
        }
    }
}

async fn until_aborted(
    hard: CancellationToken,
    task: impl Future<Output = anyhow::Result<()>> + Send,
) -> anyhow::Result<()> {
    hard.run_until_cancelled(task).await.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(error: &anyhow::Error) -> String {
        format!("{error:#}")
    }

    /// Ends when its stage is asked to stop.
    fn obedient(tasks: &mut Tasks, stage: Stage) {
        let stop = tasks.soft_token(stage);
        tasks.spawn("obedient", stage, async move {
            stop.cancelled().await;
            Ok(())
        });
    }

    #[tokio::test]
    async fn stages_stop_one_after_the_other() {
        let mut tasks = Tasks::default();
        obedient(&mut tasks, Stage::Intake);
        obedient(&mut tasks, Stage::Drain);
        tasks.stop(Stage::Intake).await.unwrap();
        assert!(!tasks.soft_token(Stage::Drain).is_cancelled());
        tasks.stop(Stage::Commit).await.unwrap();
        tasks.stop(Stage::Drain).await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_ends_before_it_was_asked_to_is_a_failure() {
        let mut tasks = Tasks::default();
        obedient(&mut tasks, Stage::Intake);
        tasks.spawn("early", Stage::Commit, async { Ok(()) });
        assert_eq!(failure(&tasks.failed().await), "a task ended before it was asked to: early");
    }

    #[tokio::test]
    async fn a_task_of_a_later_stage_that_dies_while_another_stops_is_a_failure() {
        for task in ["error", "panic", "early end"] {
            let mut tasks = Tasks::default();
            // a listener with a request in flight that never ends
            tasks.spawn("busy", Stage::Intake, std::future::pending());
            tasks.spawn(task, Stage::Commit, async move {
                match task {
                    "error" => Err(anyhow!("error: it broke")),
                    "panic" => std::panic::panic_any("it panicked"),
                    _ => Ok(()),
                }
            });
            let error = failure(&tasks.stop(Stage::Intake).await.unwrap_err());
            assert!(error.contains(task), "{error}");
        }
    }

    #[tokio::test]
    async fn a_task_that_fails_after_it_was_asked_to_end_is_a_failure() {
        let mut tasks = Tasks::default();
        let stop = tasks.soft_token(Stage::Intake);
        tasks.spawn("listener", Stage::Intake, async move {
            stop.cancelled().await;
            Err(anyhow!("it broke"))
        });
        assert_eq!(failure(&tasks.stop(Stage::Intake).await.unwrap_err()), "it broke");
    }

    #[tokio::test]
    async fn aborting_ends_every_task() {
        let mut tasks = Tasks::default();
        let (alive, mut ended) = tokio::sync::mpsc::channel::<()>(1);
        tasks.spawn("busy", Stage::Intake, async move {
            std::future::pending::<()>().await;
            drop(alive);
            Ok(())
        });
        tasks.abort();
        assert_eq!(ended.recv().await, None);
        tasks.stop(Stage::Intake).await.unwrap();
    }
}
