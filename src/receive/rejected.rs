//! Deliveries that are rejected: no part of their bodies is kept.

use crate::{credentials::AuthenticationFailure, delivery::Outcome, providers::Reply};

/// Why a delivery is rejected.
pub struct Rejected {
    pub reply: Reply,
    /// Set when the rejection counts as a failed authentication, whatever the reply is.
    pub failure: Option<AuthenticationFailure>,
}

impl Rejected {
    /// The body was not read to its end. A malformed one without authentication counts as a failed authentication.
    pub(super) fn of_incomplete_body(reply: Reply, is_authenticated: bool) -> Self {
        let counts_as_failure = !is_authenticated && matches!(reply, Reply::Malformed(_));
        Self { reply, failure: counts_as_failure.then_some(AuthenticationFailure::Missing) }
    }

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
