//! W3C Trace Context: parses the header `traceparent`.
//!
//! A header that is not exactly as <https://www.w3.org/TR/trace-context/> defines it is ignored. `tracestate` is not read:
//! this service calls nobody to whom it would have to be passed on.
//!
//! The propagator of `opentelemetry_sdk` exists only with the feature `opentelemetry`, and the log shows the caller's
//! `trace.id` without it too. That one also accepts shorter ids, and the first of repeated headers.

use http::HeaderMap;

const NAME: &str = "traceparent";

/// Of version 00: `00-TRACE_ID-SPAN_ID-FLAGS`.
const LENGTH: usize = 55;

/// The trace of a request, and the caller's span in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: u128,
    pub span_id: u64,
    /// Whether the caller records its span.
    pub is_sampled: bool,
}

impl TraceContext {
    /// `None` when the header is missing, repeated or malformed, or `is_secret`: a client may put a credential into any
    /// header.
    pub fn of(headers: &HeaderMap, is_secret: impl FnOnce(&str) -> bool) -> Option<Self> {
        let mut values = headers.get_all(NAME).iter();
        let (value, None) = (values.next()?, values.next()) else { return None };
        let value = value.to_str().ok()?;
        Self::parse(value).filter(|_| !is_secret(value))
    }

    fn parse(value: &str) -> Option<Self> {
        let (known, rest) = value.split_at_checked(LENGTH)?;
        let mut parts = known.split('-');
        let mut hex = |length: usize| {
            let digits = parts.next().filter(|part| part.len() == length)?;
            let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            digits.bytes().all(is_hex).then(|| u128::from_str_radix(digits, 16).ok())?
        };
        let (version, trace_id, span_id, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        // a later version may append fields
        let is_version = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
        if version == 0xff || !is_version || trace_id == 0 || span_id == 0 {
            return None;
        }
        Some(Self { trace_id, span_id: u64::try_from(span_id).ok()?, is_sampled: flags & 1 == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_to_the_letter() {
        let parsed = |value: &str| TraceContext::parse(value).map(|trace| format!("{:032x}", trace.trace_id));
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        for fine in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-brings",
        ] {
            assert_eq!(parsed(fine).as_deref(), Some(trace), "{fine}");
        }
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-0f067aa0ba902b7-01",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_traceparent_that_is_repeated_or_secret_counts_for_nothing() {
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut headers = HeaderMap::from_iter([(http::HeaderName::from_static(NAME), value.parse().unwrap())]);
        let trace = TraceContext::of(&headers, |_| false).unwrap();
        assert_eq!((trace.span_id, trace.is_sampled), (0x00f0_67aa_0ba9_02b7, true));
        assert_eq!(TraceContext::of(&headers, |text| text.contains("4bf92f")), None);
        headers.append(NAME, value.parse().unwrap());
        assert_eq!(TraceContext::of(&headers, |_| false), None);
    }
}
