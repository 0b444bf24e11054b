//! Lenient reading of a payload's fields.
//!
//! What a missing field means is the first word of the method:
//!
//! | method | a missing field | a field of the wrong type |
//! |---|---|---|
//! | `required_…` | error: the delivery is invalid | error |
//! | `expected_…` | warning | warning |
//! | `optional_…` | nothing | warning |
//!
//! Reading never stops at an error. The rules are the same for every field of every provider: `null`, the string "null" and
//! an empty string count as missing, strings are trimmed, a number is taken as the string of its digits, NUL characters
//! (which Postgres cannot store) are removed, of a repeated key the last one counts.

use std::fmt;

use compact_str::CompactString;
use time::{Date, macros::format_description};

use super::{Diagnostics, Problem};
use crate::json::{Kind, Member, Value};

/// Of a booking reference: Postgres bounds the size of an index entry.
pub const MAX_REFERENCE_CHARS: usize = 255;

/// The fields of one object of the payload.
pub struct Fields<'a> {
    /// `None` where the object is missing: all its fields are missing too.
    object: Option<Value<'a>>,
    path: Path,
}

/// The prefix of a field's name in errors and warnings.
#[derive(Clone, Copy)]
enum Path {
    Root,
    Member(&'static str),
    Passenger(usize),
}

impl fmt::Display for Path {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(key) => write!(formatter, "{key}."),
            Self::Passenger(index) => write!(formatter, "passengers[{index}]."),
        }
    }
}

impl<'a> Fields<'a> {
    pub(super) fn of(root: Value<'a>) -> Self {
        Self { object: Some(root), path: Path::Root }
    }

    /// `index` is that in the list of passengers.
    pub(super) fn of_passenger(object: Value<'a>, index: usize) -> Self {
        Self { object: Some(object), path: Path::Passenger(index) }
    }

    pub fn optional_text(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        let value = self.value(key, diagnostics)?;
        self.text(key, value, diagnostics)
    }

    pub fn expected_text(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        self.expected(key, diagnostics, Self::optional_text)
    }

    /// A person may be called Null: the string "null" is a name.
    pub fn expected_name(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        self.expected(key, diagnostics, |fields, key, diagnostics| {
            let value = fields.any_value(key, diagnostics)?;
            fields.text(key, value, diagnostics)
        })
    }

    pub fn required_text(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        let text = match self.value(key, diagnostics) {
            None => Some(CompactString::default()),
            Some(value) => self.clean(key, value, diagnostics),
        };
        match text {
            Some(text) if text.is_empty() => self.error(key, Problem::Missing, diagnostics),
            Some(text) => return Some(text),
            None => self.error(key, Problem::MustBe("a string".to_owned()), diagnostics),
        }
        None
    }

    /// An integer, or a string of one. `must_be` completes the error "must be ...".
    pub fn required_integer(&self, key: &str, must_be: &str, diagnostics: &mut Diagnostics) -> Option<i64> {
        let text = match self.value(key, diagnostics) {
            None => Some(CompactString::default()),
            Some(value) => self.clean(key, value, diagnostics),
        };
        match text {
            Some(text) if text.is_empty() => self.error(key, Problem::Missing, diagnostics),
            Some(text) if text.parse::<i64>().is_ok() => return text.parse().ok(),
            _ => self.error(key, Problem::MustBe(must_be.to_owned()), diagnostics),
        }
        None
    }

    /// A required text of bounded length.
    pub fn required_booking_ref(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        let reference = self.required_text(key, diagnostics)?;
        if reference.chars().count() > MAX_REFERENCE_CHARS {
            let at_most = Problem::MustBe(format!("at most {MAX_REFERENCE_CHARS} characters long"));
            self.error(key, at_most, diagnostics);
            return None;
        }
        Some(reference)
    }

    /// The fields of a nested object. Inside a passenger they are named by the passenger's path alone.
    pub fn object(&self, key: &'static str, diagnostics: &mut Diagnostics) -> Fields<'a> {
        let object = self.value(key, diagnostics);
        if object.is_some_and(|value| value.kind() != Kind::Object) {
            self.warn(key, "is not an object", diagnostics);
        }
        let path = match self.path {
            Path::Root => Path::Member(key),
            path => path,
        };
        Fields { object, path }
    }

    /// Written `YYYYMMDD`.
    pub fn expected_date(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Date> {
        let text = self.expected_text(key, diagnostics)?;
        // the format alone accepts a signed year, and the year 0
        let is_valid = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with("0000");
        let date = Date::parse(&text, format_description!("[year][month][day]")).ok().filter(|_| is_valid);
        if date.is_none() {
            self.warn(key, "is not a date (YYYYMMDD)", diagnostics);
        }
        date
    }

    /// As [`Self::expected_date`], and not after today.
    pub fn expected_past_date(&self, key: &str, today: Date, diagnostics: &mut Diagnostics) -> Option<Date> {
        let date = self.expected_date(key, diagnostics)?;
        if date > today {
            self.warn(key, "lies in the future", diagnostics);
        }
        Some(date).filter(|date| *date <= today)
    }

    /// Any value, as JSON that `jsonb` accepts.
    pub fn expected_json(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<String> {
        let value = self.any_value(key, diagnostics);
        if value.is_none() {
            self.warn(key, "is missing", diagnostics);
        }
        value.map(Value::storable)
    }

    /// For a mandatory field that nothing else reads.
    pub fn warn_if_missing(&self, key: &str, diagnostics: &mut Diagnostics) {
        let member = self.object.and_then(|object| object.member(key));
        if member.is_none_or(|member| member.value.kind() == Kind::Null) {
            self.warn(key, "is missing", diagnostics);
        }
    }

    pub fn error(&self, key: &str, problem: Problem, diagnostics: &mut Diagnostics) {
        diagnostics.error(format!("{}{key}", self.path), problem);
    }

    /// `what` continues the sentence that begins with the field's path.
    pub fn warn(&self, key: &str, what: &str, diagnostics: &mut Diagnostics) {
        diagnostics.warn(|| format!("{}{key} {what}", self.path));
    }

    /// Makes an optional read an expected one: warns when it finds nothing and has not warned itself.
    pub(super) fn expected<T>(
        &self,
        key: &str,
        diagnostics: &mut Diagnostics,
        read: impl FnOnce(&Self, &str, &mut Diagnostics) -> Option<T>,
    ) -> Option<T> {
        let warnings = diagnostics.warning_count();
        let found = read(self, key, diagnostics);
        if found.is_none() && diagnostics.warning_count() == warnings {
            self.warn(key, "is missing", diagnostics);
        }
        found
    }

    /// `None` when it is missing, null, or the string "null".
    pub(super) fn value(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Value<'a>> {
        let value = self.any_value(key, diagnostics)?;
        if value.is_word_ignoring_case("null") {
            self.warn(key, "is the word null", diagnostics);
            return None;
        }
        Some(value)
    }

    /// `None` when it is missing or null.
    fn any_value(&self, key: &str, diagnostics: &mut Diagnostics) -> Option<Value<'a>> {
        let Member { value, is_repeated } = self.object?.member(key)?;
        if is_repeated {
            self.warn(key, "occurs more than once; the last one counts", diagnostics);
        }
        (value.kind() != Kind::Null).then_some(value)
    }

    /// A non-empty string or number.
    fn text(&self, key: &str, value: Value<'_>, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        let text = self.clean(key, value, diagnostics);
        if text.is_none() {
            self.warn(key, "is not a string", diagnostics);
        }
        text.filter(|text| !text.is_empty())
    }

    /// A trimmed string or number; `None` for anything else.
    pub(super) fn clean(&self, key: &str, value: Value<'_>, diagnostics: &mut Diagnostics) -> Option<CompactString> {
        let text = value.text()?;
        if text.repaired {
            self.warn(key, "held a lone surrogate, which was replaced", diagnostics);
        }
        if !text.value.contains('\0') {
            return Some(text.value.trim().into());
        }
        self.warn(key, "held NUL characters, which were removed", diagnostics);
        Some(text.value.replace('\0', "").trim().into())
    }
}
