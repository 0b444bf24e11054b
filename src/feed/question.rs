//! What is asked about events, as people and programs write it.

use time::OffsetDateTime;

use crate::{providers, store::Filter};

/// In characters. Longer ones occur nowhere, keys are cut there.
const MAX_LENGTH: usize = 200;

/// The longest that the index of `ticket_events` can hold, in bytes.
const MAX_BOOKING_REF_LENGTH: usize = 2700;

/// As it was asked; `None` is any.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub provider: Option<String>,
    pub environment: Option<String>,
    pub status: Option<String>,
    pub booking_ref: Option<String>,
    /// A record locator of any kind, or the booking number.
    pub pnr: Option<String>,
    /// In any spelling.
    pub ticket: Option<String>,
    /// Words of passengers' names, in any order.
    pub name: Option<String>,
    pub received_from: Option<OffsetDateTime>,
    pub received_to: Option<OffsetDateTime>,
}

/// A question that has no answer. The text names the parameter.
#[derive(Debug, thiserror::Error)]
pub enum InvalidQuestion {
    #[error("{0} is longer than {1}")]
    TooLong(&'static str, usize),
    #[error("{0} has a NUL character, which is stored nowhere")]
    Nul(&'static str),
    #[error("ticket has no ticket number")]
    NoTicket,
    #[error("pnr is empty")]
    NoLocator,
    #[error("name has no letter and no digit")]
    NoName,
}

impl Question {
    /// Normalized as deliveries are.
    ///
    /// # Errors
    ///
    /// A text is too long, has a NUL character, or nothing to look for.
    pub fn filter(self) -> Result<Filter, InvalidQuestion> {
        for (name, text, max_length) in [
            ("provider", &self.provider, MAX_LENGTH),
            ("environment", &self.environment, MAX_LENGTH),
            ("status", &self.status, MAX_LENGTH),
            ("booking_ref", &self.booking_ref, MAX_BOOKING_REF_LENGTH),
            ("pnr", &self.pnr, MAX_LENGTH),
            ("ticket", &self.ticket, MAX_LENGTH),
            ("name", &self.name, MAX_LENGTH),
        ] {
            let text = text.as_deref().unwrap_or_default();
            if text.chars().count() > max_length {
                return Err(InvalidQuestion::TooLong(name, max_length));
            }
            if text.contains('\0') {
                return Err(InvalidQuestion::Nul(name));
            }
        }
        let ticket = match self.ticket {
            Some(text) => Some(providers::ticket_number(&text).ok_or(InvalidQuestion::NoTicket)?),
            None => None,
        };
        if self.pnr.as_ref().is_some_and(|pnr| pnr.trim().is_empty()) {
            return Err(InvalidQuestion::NoLocator);
        }
        if self.name.as_ref().is_some_and(|name| !name.contains(char::is_alphanumeric)) {
            return Err(InvalidQuestion::NoName);
        }
        Ok(Filter {
            provider: self.provider,
            environment: self.environment,
            status: self.status,
            booking_ref: self.booking_ref,
            pnr: self.pnr.map(|pnr| pnr.trim().to_owned()),
            ticket,
            name: self.name,
            received_from: self.received_from,
            received_to: self.received_to,
        })
    }
}
