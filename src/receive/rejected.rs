//! Deliveries that are rejected: nothing of them is kept.

use crate::{credentials::AuthenticationFailure, delivery::Outcome, providers::Reply};

/// Why a delivery is rejected.
pub struct Rejected {
    pub reply: Reply,
    /// Set when the rejection counts as a failed authentication, whatever the reply is.
    pub failure: Option<AuthenticationFailure>,
}

impl Rejected {
    pub(super) fn outcome(&self) -> Outcome {
        match self.reply {
            Reply::Unauthenticated | Reply::TooManyFailures(_) => Outcome::Unauthenticated,
            Reply::UnsupportedEncoding => Outcome::UnsupportedEncoding,
            Reply::TooLarge(_) => Outcome::TooLarge,
            Reply::TimedOut => Outcome::TimedOut,
            Reply::Unavailable => Outcome::NotDurable,
            _ => Outcome::Malformed,
        }
    }
}

impl From<Reply> for Rejected {
    fn from(reply: Reply) -> Self {
        Self { reply, failure: None }
    }
}

impl From<AuthenticationFailure> for Rejected {
    fn from(failure: AuthenticationFailure) -> Self {
        Self { reply: Reply::Unauthenticated, failure: Some(failure) }
    }
}
