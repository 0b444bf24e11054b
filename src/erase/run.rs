//! One erasure: finds page after page, and erases it in steps.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{EraseError, How, Report, bodies};
use crate::{
    clock,
    commits::Commits,
    receive::text_of_body,
    store::{EraseTarget, Erasure, Person, Pool, Source, is_serialization_failure},
};

/// Events that are looked at in one query.
const PAGE: i64 = 2000;

/// Unprocessed deliveries that are looked at in one query, with their bodies.
const PAGE_OF_BODIES: i64 = 20;

/// Events or bodies of one step: while it runs, it holds the feed back.
const STEP: usize = 50;

/// How often, and after which pause, rows are tried again that another transaction has locked.
const MAX_ATTEMPTS: usize = 100;
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Between two steps beside deliveries, in times that the step took; under load it is longer.
const PAUSE: u32 = 4;

/// Which unprocessed deliveries.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bodies<'a> {
    OfBooking {
        provider: Option<&'static str>,
        environment: Option<&'static str>,
        booking_ref: &'a str,
    },
    /// All of these words.
    OfName(&'a [String]),
    OfDocument(&'a str),
    ReceivedBefore(time::OffsetDateTime),
}

pub(super) struct Run<'a> {
    pool: &'a Pool,
    erasure: Erasure,
    how: How,
    report: Report,
    /// Set if deliveries are not to feel it.
    beside: Option<&'a Commits>,
    /// Another replica's retention works.
    is_busy: bool,
}

impl<'a> Run<'a> {
    pub(super) fn new(pool: &'a Pool, erasure: Erasure, how: How) -> Self {
        Self { pool, erasure, how, report: Report::default(), beside: None, is_busy: false }
    }

    /// Pauses between its steps, as long as the commits of deliveries demand.
    pub(super) fn beside(self, commits: &'a Commits) -> Self {
        Self { beside: Some(commits), ..self }
    }

    pub(super) fn erasure(&self) -> &Erasure {
        &self.erasure
    }

    /// Of an erasure by age.
    pub(super) fn received_before(&self) -> time::OffsetDateTime {
        self.erasure.received_before.unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    }

    /// Whether it stops before everything is erased.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_busy || self.how.deadline.is_some_and(|deadline| Instant::now() > deadline)
    }

    /// The events of a person: by search keys, and one after the other where these are not written yet.
    pub(super) async fn person(
        &mut self,
        kind: &'static str,
        keys: &[String],
        person: &Person,
    ) -> Result<(), EraseError> {
        // the keys are complete up to here
        let from = self.pool.search_position().await?;
        self.events(Source::Keyed { kind, keys, until: from }, person).await?;
        self.events(Source::Recorded { from, until: None, received_before: None }, person).await
    }

    pub(super) async fn events(&mut self, source: Source<'_>, person: &Person) -> Result<(), EraseError> {
        let mut after = None;
        while !self.is_stopped() {
            let page = self.pool.find_events(source, person, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = Some(*last);
            let ids: Vec<_> = page.iter().filter(|found| found.is_erasable).map(|found| found.id).collect();
            self.report.events += self.steps(EraseTarget::Events(person), &ids).await?;
        }
        Ok(())
    }

    pub(super) async fn bodies(&mut self, which: Bodies<'_>) -> Result<(), EraseError> {
        let (before, with_body, limit) = match which {
            Bodies::ReceivedBefore(before) => (before, false, PAGE),
            _ => (clock::now(), true, PAGE_OF_BODIES),
        };
        let mut after = None;
        while !self.is_stopped() {
            let page = self.pool.find_bodies(before, after, with_body, limit).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.received_at, last.id));
            let texts: Vec<_> = page.iter().map(|found| bodies::readings(&text_of_body(&found.body))).collect();
            let is_wanted: Vec<bool> = match which {
                Bodies::ReceivedBefore(_) => vec![true; page.len()],
                Bodies::OfBooking { provider, environment, booking_ref } => page
                    .iter()
                    .zip(&texts)
                    .map(|(found, text)| {
                        provider.is_none_or(|provider| provider == found.provider)
                            && environment.is_none_or(|environment| environment == found.environment)
                            && bodies::holds_word(text, booking_ref.trim())
                    })
                    .collect(),
                Bodies::OfDocument(number) => texts.iter().map(|text| bodies::holds_number(text, number)).collect(),
                Bodies::OfName(words) => {
                    let with_words = self.pool.texts_with_words(&texts, words).await?;
                    (0..page.len()).map(|index| with_words.contains(&index)).collect()
                }
            };
            let wanted = page.iter().zip(is_wanted).filter(|(_, is_wanted)| *is_wanted);
            let ids: Vec<_> = wanted.map(|(found, _)| found.id).collect();
            self.report.unprocessed_deliveries += self.steps(EraseTarget::Bodies, &ids).await?;
        }
        Ok(())
    }

    /// How many were erased, or would be.
    async fn steps(&mut self, erased: EraseTarget<'_>, ids: &[Uuid]) -> Result<usize, EraseError> {
        if self.how.is_dry_run {
            return Ok(ids.len());
        }
        let mut count = 0;
        for ids in ids.chunks(STEP) {
            if self.is_stopped() {
                break;
            }
            count += self.step(erased, ids.to_vec()).await?;
        }
        Ok(count)
    }

    async fn step(&mut self, erased: EraseTarget<'_>, mut ids: Vec<Uuid>) -> Result<usize, EraseError> {
        let mut count = 0;
        for _ in 0..MAX_ATTEMPTS {
            let start = Instant::now();
            match self.pool.erase(erased, &ids, &self.erasure).await {
                Ok(Some(step)) => {
                    count += step.erased.len();
                    ids = step.left;
                }
                Ok(None) => {
                    self.is_busy = true;
                    return Ok(count);
                }
                Err(error) if is_serialization_failure(&error) => {}
                Err(error) => return Err(error.into()),
            }
            if let Some(commits) = self.beside {
                sleep(commits.pause_after(start.elapsed(), PAUSE)).await;
            }
            if ids.is_empty() {
                return Ok(count);
            }
            sleep(RETRY_PAUSE).await;
        }
        Err(EraseError::Locked(ids.len()))
    }

    pub(super) async fn finish(mut self) -> Result<Report, EraseError> {
        self.report.is_finished = !self.is_stopped();
        if !self.how.is_dry_run {
            self.report.id = Some(self.erasure.id);
            if self.report.is_finished {
                self.pool.finish_erasure(&self.erasure).await?;
            }
        }
        Ok(self.report)
    }
}
