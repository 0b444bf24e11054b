//! What of a normalized booking is no business data: the provider's own words.

use super::Redactor;
use crate::{
    json::Document,
    ticket_event::{AsSent, Booking},
};

impl Redactor {
    /// Replaces secrets in what bookings are neither compared nor found nor shown by.
    pub(crate) fn booking(&self, booking: &mut Booking, credential_members: &[&str]) {
        let words = [&mut booking.trace_id, &mut booking.provider_status, &mut booking.remark];
        let of_passengers = booking.passengers.iter_mut().flat_map(|of| [&mut of.gender, &mut of.nationality]);
        for field in words.into_iter().chain(of_passengers) {
            if let Some(redacted) = field.as_deref().and_then(|text| self.text(text)) {
                *field = Some(redacted.into());
            }
        }
        for ancillaries in booking.passengers.iter_mut().filter_map(|passenger| passenger.ancillaries.as_mut()) {
            let document = Document::parse(ancillaries.as_str()).ok().map(Document::into_parts);
            if let Some(redacted) = document.and_then(|(text, index)| self.json(&text, &index, credential_members)) {
                *ancillaries = AsSent::new(redacted.text);
            }
        }
    }
}
