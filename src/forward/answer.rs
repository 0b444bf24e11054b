//! What a receiver's answer means.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

/// Longer times are not waited for, whatever the receiver asks.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);

/// What became of an attempt: the label `outcome` of the metrics, and in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx
    Delivered,
    /// 3xx, which is not followed.
    Redirected,
    /// 429
    Throttled,
    /// 410
    Gone,
    /// Any other 4xx.
    Refused,
    /// Any other status.
    Failed,
    /// No answer within 15 seconds.
    TimedOut,
    /// No connection: the name, the address, or the certificate.
    Unreachable,
    /// The connection ended before the answer, or the answer is no HTTP.
    Broken,
}

impl Outcome {
    pub const ALL: [Self; 9] = [
        Self::Delivered,
        Self::Redirected,
        Self::Throttled,
        Self::Gone,
        Self::Refused,
        Self::Failed,
        Self::TimedOut,
        Self::Unreachable,
        Self::Broken,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Redirected => "redirected",
            Self::Throttled => "throttled",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
        }
    }
}

/// The outcome of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub outcome: Outcome,
    pub status: Option<StatusCode>,
    /// The receiver asks for this time.
    pub retry_after: Option<Duration>,
    /// Why there is no answer.
    pub error: Option<String>,
}

impl Answer {
    /// Without an answer of the receiver.
    pub(super) fn none(outcome: Outcome, error: String) -> Self {
        Self { outcome, status: None, retry_after: None, error: Some(error) }
    }

    pub(super) fn of(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Self {
        let outcome = match status.as_u16() {
            200..=299 => Outcome::Delivered,
            300..=399 => Outcome::Redirected,
            410 => Outcome::Gone,
            429 => Outcome::Throttled,
            400..=499 => Outcome::Refused,
            _ => Outcome::Failed,
        };
        Self { outcome, status: Some(status), retry_after: retry_after(headers, now), error: None }
    }

    /// Whether the receiver as a whole asks for time, not for this event alone.
    pub(super) fn is_busy(&self) -> bool {
        let is_busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].map(Some);
        is_busy.contains(&self.status) && self.retry_after.is_some()
    }

    /// As in `forward_items.last_outcome`.
    pub(super) fn text(&self) -> String {
        let outcome = self.outcome.as_str();
        self.status.map_or_else(|| outcome.to_owned(), |status| format!("{outcome} {}", status.as_u16()))
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => MAX_RETRY_AFTER,
        Err(_) => httpdate::parse_http_date(value).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_yes() {
        let outcome =
            |status| Answer::of(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), SystemTime::now()).outcome;
        for status in 100..1000 {
            assert_eq!(outcome(status) == Outcome::Delivered, (200..300).contains(&status), "{status}");
        }
        assert_eq!([302, 400, 410, 429, 500, 999].map(outcome), {
            use Outcome::{Failed, Gone, Redirected, Refused, Throttled};
            [Redirected, Refused, Gone, Throttled, Failed, Failed]
        });
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_651_200);
        let wait = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("Thu, 26 Nov 2026 00:02:00 GMT"), Some(120));
        assert_eq!(wait("Wed, 25 Nov 2026 00:00:00 GMT"), Some(0));
        assert_eq!(wait("99999999999999999999999"), Some(24 * 3600));
        for wrong in ["", "soon", "-5", "1.5", "5 s"] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
    }
}
