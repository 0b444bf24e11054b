//! Lenient reading of lists, and of what providers send in their place.

use compact_str::CompactString;

use super::{Diagnostics, Fields, Problem};
use crate::json::{Kind, Value};

/// Per booking; far above any real one, it bounds the work for one delivery.
pub const MAX_PASSENGERS: usize = 1000;

impl<'a> Fields<'a> {
    /// An element that is not an object is a passenger without fields; null is no passenger.
    pub fn required_passengers(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<Fields<'a>>> {
        match self.elements(key, diagnostics) {
            Some(elements) => self.passengers(key, &elements, diagnostics),
            None => {
                self.error(key, Problem::Missing, diagnostics);
                None
            }
        }
    }

    pub fn expected_passengers(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<Fields<'a>>> {
        let elements = self.expected(key, diagnostics, Self::elements);
        self.passengers(key, &elements.unwrap_or_default(), diagnostics)
    }

    fn passengers(&self, key: &str, elements: &[Value<'a>], diagnostics: &mut Diagnostics) -> Option<Vec<Fields<'a>>> {
        if elements.len() > MAX_PASSENGERS {
            let at_most = format!("an array of at most {MAX_PASSENGERS} elements");
            self.error(key, Problem::MustBe(at_most), diagnostics);
            return None;
        }
        let mut passengers = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            if element.kind() != Kind::Object {
                diagnostics.warn(|| format!("passengers[{index}] is not an object"));
            }
            if element.kind() != Kind::Null {
                passengers.push(Fields::of_passenger(*element, index));
            }
        }
        Some(passengers)
    }

    /// The strings of a list, without empty ones.
    pub fn optional_list(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<CompactString>> {
        Some(self.texts(key, &self.elements(key, diagnostics)?, diagnostics))
    }

    pub fn expected_list(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<CompactString>> {
        self.expected(key, diagnostics, Self::optional_list)
    }

    /// For a string that holds a list, undivided; providers also send an array in its place.
    pub fn optional_text_or_list(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<CompactString>> {
        let value = self.value(key, diagnostics)?;
        match value.kind() {
            Kind::Array | Kind::Object => self.optional_list(key, diagnostics),
            _ => Some(self.texts(key, &[value], diagnostics)),
        }
    }

    fn texts(&self, key: &str, elements: &[Value<'a>], diagnostics: &mut Diagnostics) -> Vec<CompactString> {
        let mut texts = Vec::with_capacity(elements.len());
        for element in elements {
            match self.clean(key, *element, diagnostics) {
                Some(text) if !text.is_empty() => texts.push(text),
                Some(_) => {}
                None if element.kind() == Kind::Null => {}
                None => self.warn(key, "holds something that is not a string", diagnostics),
            }
        }
        texts
    }

    /// `None` where the list is missing. With a warning, other values stand for a list: an object with numbered keys (which
    /// PHP makes of a list with a gap) for its values, an empty object for an empty list, anything else for a list of one.
    fn elements(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Vec<Value<'a>>> {
        let value = self.value(key, diagnostics)?;
        if let Some(elements) = value.elements() {
            return Some(elements.collect());
        }
        if value.kind() == Kind::String && value.text().is_some_and(|text| text.value.trim().is_empty()) {
            return None;
        }
        self.warn(key, "is not an array", diagnostics);
        let is_number = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
        let mut members = value.members().into_iter().flatten();
        let is_list = value.kind() == Kind::Object && members.clone().all(|(key, _)| is_number(&key.value));
        Some(if is_list { members.by_ref().map(|(_, value)| value).collect() } else { vec![value] })
    }
}
