//! One attempt to deliver an item.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Forward, answer::Answer, sender::Message};
use crate::store::{ForwardItem, Position};

/// An item that is to be sent now.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) item: ForwardItem,
    /// Its JSON and its `type`, from when it was read. Without it, and in a later attempt, it is read as it is now: what was erased
    /// meanwhile is not sent.
    pub(super) content: Option<Arc<Serialized>>,
}

/// An item as it is sent.
#[derive(Debug)]
pub(super) struct Serialized {
    pub(super) kind: &'static str,
    pub(super) data: String,
}

/// An attempt with its answer.
#[derive(Debug)]
pub struct Attempted {
    pub item: ForwardItem,
    /// How many attempts there were with this one.
    pub attempt: i32,
    pub kind: &'static str,
    pub answer: Answer,
    pub duration: Duration,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) position: Position,
    pub(super) result: AttemptResult,
}

#[derive(Debug)]
pub(super) enum AttemptResult {
    /// What the receiver answered, or why it did not.
    Answered(Answer),
    /// Nothing was sent, for the item could not be read; or the attempt was given up.
    Unsent,
    /// The configuration does not ask for this item any more.
    Unwanted,
}

impl Attempt {
    pub(super) async fn make(self, forward: &Forward) -> Finished {
        let Self { item, content } = self;
        let position = item.position;
        let content = match content {
            Some(content) => content,
            None => match read(&item, forward).await {
                Ok(content) => content,
                Err(result) => return Finished { position, result },
            },
        };
        let message = Message { id: item.id, kind: content.kind, recorded_at: item.recorded_at, data: &content.data };
        let began = Instant::now();
        let answer = forward.sender.send(&message).await;
        let attempt = item.attempts + 1;
        let attempted = Attempted { attempt, kind: content.kind, answer, duration: began.elapsed(), item };
        (forward.observe)(&attempted);
        Finished { position, result: AttemptResult::Answered(attempted.answer) }
    }
}

/// An item as it is now, if it is to be sent.
async fn read(item: &ForwardItem, forward: &Forward) -> Result<Arc<Serialized>, AttemptResult> {
    let id = item.id;
    match forward.read(item.position).await {
        Ok(Some(read)) if read.content.id() == id && !forward.wanted.matches(&read.content) => {
            tracing::info!(forward = forward.name(), item.id = %id, "the configuration does not ask for this item any more");
            Err(AttemptResult::Unwanted)
        }
        Ok(Some(read)) if read.content.id() == id => {
            Ok(Arc::new(Serialized { kind: read.content.kind(), data: read.to_json() }))
        }
        Ok(_) => {
            tracing::warn!(forward = forward.name(), item.id = %id, "an item is not in the feed any more");
            Err(AttemptResult::Unsent)
        }
        Err(error) => {
            tracing::debug!(%error, "an item cannot be read now");
            Err(AttemptResult::Unsent)
        }
    }
}
