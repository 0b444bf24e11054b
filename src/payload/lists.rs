//! The reading of lists, and of what stands in their place.

use compact_str::CompactString;

use super::{Fields, Findings, Problem};
use crate::json::{Kind, Value};

/// A booking may have this many passengers: far above any real one, it bounds the work that one delivery can make.
pub const MAX_PASSENGERS: usize = 1000;

impl<'a> Fields<'a> {
    /// The passengers, an object each, from a required list. An element that is no object is a passenger of whom nothing
    /// is known, except that null is none.
    pub fn required_passengers(&self, key: &str, findings: &mut Findings) -> Option<Vec<Fields<'a>>> {
        match self.elements(key, findings) {
            Some(elements) => self.passengers(key, &elements, findings),
            None => {
                self.refuse(key, Problem::Missing, findings);
                None
            }
        }
    }

    /// The same, from a list that is expected.
    pub fn expected_passengers(&self, key: &str, findings: &mut Findings) -> Option<Vec<Fields<'a>>> {
        let elements = self.expecting(key, findings, Self::elements);
        self.passengers(key, &elements.unwrap_or_default(), findings)
    }

    fn passengers(&self, key: &str, elements: &[Value<'a>], findings: &mut Findings) -> Option<Vec<Fields<'a>>> {
        if elements.len() > MAX_PASSENGERS {
            let at_most = format!("an array of at most {MAX_PASSENGERS} elements");
            self.refuse(key, Problem::MustBe(at_most), findings);
            return None;
        }
        let mut passengers = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            if element.kind() != Kind::Object {
                findings.warn(|| format!("passengers[{index}] is not an object"));
            }
            if element.kind() != Kind::Null {
                passengers.push(Fields::of_passenger(*element, index));
            }
        }
        Some(passengers)
    }

    /// The strings of a list, empty ones left out; `None` where there is no list.
    pub fn list(&self, key: &str, findings: &mut Findings) -> Option<Vec<CompactString>> {
        Some(self.texts(key, &self.elements(key, findings)?, findings))
    }

    /// The same of a list that is expected.
    pub fn expected_list(&self, key: &str, findings: &mut Findings) -> Option<Vec<CompactString>> {
        self.expecting(key, findings, Self::list)
    }

    /// The same where the provider's document has a string, which may hold several and may be a list all the same.
    pub fn list_in_string(&self, key: &str, findings: &mut Findings) -> Option<Vec<CompactString>> {
        let value = self.value(key, findings)?;
        match value.kind() {
            Kind::Array | Kind::Object => self.list(key, findings),
            _ => Some(self.texts(key, &[value], findings)),
        }
    }

    fn texts(&self, key: &str, elements: &[Value<'a>], findings: &mut Findings) -> Vec<CompactString> {
        let mut texts = Vec::with_capacity(elements.len());
        for element in elements {
            match self.clean(key, *element, findings) {
                Some(text) if !text.is_empty() => texts.push(text),
                Some(_) => {}
                None if element.kind() == Kind::Null => {}
                None => self.warn(key, "holds something that is not a string", findings),
            }
        }
        texts
    }

    /// The elements of a list; `None` where there is none. What is no array becomes one: an object with numbered keys
    /// (what PHP makes of a list with a gap) the list of its values, an empty object an empty one, anything else a list
    /// of one.
    fn elements(&self, key: &str, findings: &mut Findings) -> Option<Vec<Value<'a>>> {
        let value = self.value(key, findings)?;
        if let Some(elements) = value.elements() {
            return Some(elements.collect());
        }
        if value.kind() == Kind::String && value.text().is_some_and(|text| text.value.trim().is_empty()) {
            return None;
        }
        self.warn(key, "is not an array", findings);
        let is_number = |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_digit());
        let mut members = value.members().into_iter().flatten();
        let is_list = value.kind() == Kind::Object && members.clone().all(|(key, _)| is_number(&key.value));
        Some(if is_list { members.by_ref().map(|(_, value)| value).collect() } else { vec![value] })
    }
}
