//! Redacting a normalized booking.

use super::Redactor;
use crate::{
    json::Document,
    ticket_event::{Booking, RawJson},
};

impl Redactor {
    /// Redacts the free-text fields: `trace_id`, `provider_status`, `remark`, `gender`, `nationality`, `ancillaries`. In JSON
    /// in them the values of these members are replaced too. All other fields are business data and stay as they were sent.
    pub(crate) fn redact_booking(&self, booking: &mut Booking, members: &[&str]) {
        let texts = [&mut booking.trace_id, &mut booking.provider_status, &mut booking.remark];
        let of_passengers = booking.passengers.iter_mut().flat_map(|of| [&mut of.gender, &mut of.nationality]);
        for field in texts.into_iter().chain(of_passengers) {
            if let Some(redacted) = field.as_deref().and_then(|text| self.redact_broken_json(text, members)) {
                *field = Some(redacted.into());
            }
        }
        for ancillaries in booking.passengers.iter_mut().filter_map(|passenger| passenger.ancillaries.as_mut()) {
            let document = Document::parse(ancillaries.as_str()).ok().map(Document::into_parts);
            if let Some(redacted) = document.and_then(|(text, index)| self.redact_json(&text, &index, members)) {
                *ancillaries = RawJson::new(redacted.text);
            }
        }
    }
}
