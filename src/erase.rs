//! Erasing personal data: of a booking, of a person, or of everything older than an age.
//!
//! What is left of an event is its row, its place in the feed, its status, record locators and ticket numbers, and the hash
//! of its content, so that a redelivery stays a duplicate and brings nothing back. Each erased event gives one notice in the
//! feed. An unprocessed delivery keeps its reason and the hash of its body.
//!
//! Invariants:
//!
//! - It goes in small steps, each a transaction of its own: one that was interrupted is simply asked for again.
//! - A step waits for no delivery that is being recorded, and deadlocks with none.
//! - What was recorded before it began is found; of what is recorded meanwhile, that is not certain.
//! - Names and numbers of documents stand in no record, log line or error.

mod bodies;
mod retention;
mod run;

use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

pub use self::retention::keep_to_retention;
use self::run::{Bodies, Run};
use crate::{
    clock,
    config::MAX_RETENTION_DAYS,
    payload::MAX_REFERENCE_CHARS,
    providers::{self, Provider},
    store::{Erasure, FeedError, Person, Pool, RequestedBy, Source},
    ticket_event::Environment,
};

/// Of a name and of the number of a document.
const MAX_CHARS: usize = 200;

/// What is erased.
#[derive(Clone, Debug)]
pub enum Subject {
    Booking {
        booking_ref: String,
        /// `None`: of any.
        provider: Option<String>,
        environment: Option<Environment>,
    },
    /// A passenger whose name has all words of this one.
    Name(String),
    /// The number of a passenger's identity document.
    Document(String),
    /// Everything received longer ago, in days.
    OlderThan(u32),
}

/// How an erasure is done.
#[derive(Clone, Copy, Debug)]
pub struct How {
    pub requested_by: RequestedBy,
    /// Counts, and writes nothing.
    pub is_dry_run: bool,
    /// Where it stops although something is left.
    pub deadline: Option<Instant>,
}

/// What was erased, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The row of `erasures`; none of a dry run.
    pub id: Option<Uuid>,
    pub events: usize,
    pub unprocessed_deliveries: usize,
    /// Whether nothing is left.
    pub is_finished: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The subject cannot be used: says what was expected.
    #[error("{0}")]
    Invalid(String),
    #[error("another transaction holds {0} rows for long: end it, and ask for the erasure again")]
    Locked(usize),
    #[error(transparent)]
    Feed(#[from] FeedError),
}

impl From<sqlx::Error> for EraseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Feed(error.into())
    }
}

/// Erases the personal data of a subject.
///
/// # Errors
///
/// The subject cannot be used, or the database does not do what is asked: what was erased so far stays erased.
pub async fn erase(pool: &Pool, subject: &Subject, how: How) -> Result<Report, EraseError> {
    subject.check()?;
    let mut run = Run::new(pool, subject.erasure(how.requested_by), how);
    match subject {
        Subject::Booking { booking_ref, .. } => {
            let Erasure { provider, environment, .. } = *run.erasure();
            let providers = provider.map_or_else(|| providers::names().collect(), |provider| vec![provider]);
            let environments = environment.map_or_else(|| vec!["live", "test"], |environment| vec![environment]);
            let source = Source::Booking { providers: &providers, environments: &environments, booking_ref };
            run.events(source, &Person::default()).await?;
            run.bodies(Bodies::OfBooking { provider, environment, booking_ref }).await?;
        }
        Subject::Name(name) => {
            let mut words = pool.search_words(name).await?;
            // the longest is the rarest, as a rule
            words.sort_by_key(|word| std::cmp::Reverse(word.len()));
            if words.is_empty() {
                return Err(EraseError::Invalid("name: expected at least one letter or digit".to_owned()));
            }
            let person = Person { name_words: Some(words.clone()), document: None };
            run.person("name", &words, &person).await?;
            run.bodies(Bodies::OfName(&words)).await?;
        }
        Subject::Document(number) => {
            let number = pool.search_document(number).await?;
            if !number.chars().any(char::is_alphanumeric) {
                return Err(EraseError::Invalid("document: expected at least one letter or digit".to_owned()));
            }
            let person = Person { name_words: None, document: Some(number.clone()) };
            run.person("document", std::slice::from_ref(&number), &person).await?;
            run.bodies(Bodies::OfDocument(&number)).await?;
        }
        Subject::OlderThan(_) => {
            let before = run.received_before();
            let source = Source::Received { from: OffsetDateTime::UNIX_EPOCH, before };
            run.events(source, &Person::default()).await?;
            run.bodies(Bodies::ReceivedBefore(before)).await?;
        }
    }
    run.finish().await
}

impl Subject {
    /// What the command line and the API do not check by its type.
    fn check(&self) -> Result<(), EraseError> {
        let (key, text, max) = match self {
            Self::Booking { booking_ref, provider, .. } => {
                if let Some(unknown) = provider.as_deref().filter(|name| providers::by_name(name).is_none()) {
                    let expected = providers::listed_names();
                    let shown: String = unknown.chars().filter(char::is_ascii_graphic).take(50).collect();
                    return Err(EraseError::Invalid(format!("provider {shown}: expected one of {expected}")));
                }
                ("booking_ref", booking_ref, MAX_REFERENCE_CHARS)
            }
            Self::Name(name) => ("name", name, MAX_CHARS),
            Self::Document(number) => ("document", number, MAX_CHARS),
            Self::OlderThan(days) if (1..=MAX_RETENTION_DAYS).contains(days) => return Ok(()),
            Self::OlderThan(_) => {
                let expected = format!("older_than_days: expected a number from 1 to {MAX_RETENTION_DAYS}");
                return Err(EraseError::Invalid(expected));
            }
        };
        if text.trim().is_empty() || text.contains('\0') || text.chars().count() > max {
            let expected = format!("{key}: expected a text of at most {max} characters, without NUL characters");
            return Err(EraseError::Invalid(expected));
        }
        Ok(())
    }

    fn erasure(&self, requested_by: RequestedBy) -> Erasure {
        let empty = Erasure {
            id: clock::new_id(),
            subject: "age",
            requested_by,
            provider: None,
            environment: None,
            booking_ref: None,
            received_before: None,
        };
        match self {
            Self::Booking { booking_ref, provider, environment } => Erasure {
                subject: "booking",
                provider: provider.as_deref().and_then(providers::by_name).map(Provider::name),
                environment: environment.map(Environment::as_str),
                booking_ref: Some(booking_ref.clone()),
                ..empty
            },
            Self::Name(_) => Erasure { subject: "name", ..empty },
            Self::Document(_) => Erasure { subject: "document", ..empty },
            Self::OlderThan(days) => Erasure { received_before: Some(days_ago(*days)), ..empty },
        }
    }
}

fn days_ago(days: u32) -> OffsetDateTime {
    clock::now().saturating_sub(time::Duration::days(days.into()))
}
