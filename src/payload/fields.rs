//! The lenient reading of a payload's fields.
//!
//! Reading never fails: what is missing or odd in a required field becomes a [`FieldError`](super::FieldError),
//! everywhere else a warning, and the rest goes on. The rules are the same for every field of every provider: `null` and
//! the word null in a string count as missing, strings are trimmed, an empty one counts as missing, a number where a
//! string is expected is taken as its digits, NUL characters (which Postgres cannot store in text) are removed, of a
//! repeated key the last one counts.

use std::fmt;

use compact_str::CompactString;
use time::{Date, macros::format_description};

use super::{Findings, Problem};
use crate::json::{Kind, Member, Value};

/// A booking reference may have this many characters; an index entry in Postgres is bounded.
pub const MAX_REFERENCE_CHARS: usize = 255;

/// The fields of one object of the payload.
pub struct Fields<'a> {
    object: Option<Value<'a>>,
    path: Path,
}

/// What stands before a field's name where it is named.
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
    /// Those of the whole payload.
    pub(super) fn of(root: Value<'a>) -> Self {
        Self { object: Some(root), path: Path::Root }
    }

    /// Those of a passenger, by their number in the list.
    pub(super) fn of_passenger(object: Value<'a>, number: usize) -> Self {
        Self { object: Some(object), path: Path::Passenger(number) }
    }

    /// A field that need not be there.
    pub fn optional(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        let value = self.value(key, findings)?;
        self.text(key, value, findings)
    }

    /// A field that the provider's document calls mandatory, without which the delivery still means something.
    pub fn expected(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        self.expecting(key, findings, Self::optional)
    }

    /// A person's name, which may be any word, also null. It is expected.
    pub fn name(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        self.expecting(key, findings, |fields, key, findings| {
            let value = fields.any_value(key, findings)?;
            fields.text(key, value, findings)
        })
    }

    /// A field without which the delivery means nothing.
    pub fn required(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        let text = match self.value(key, findings) {
            None => Some(CompactString::default()),
            Some(value) => self.clean(key, value, findings),
        };
        match text {
            Some(text) if text.is_empty() => self.refuse(key, Problem::Missing, findings),
            Some(text) => return Some(text),
            None => self.refuse(key, Problem::MustBe("a string".to_owned()), findings),
        }
        None
    }

    /// An integer or a string of one, without which the delivery means nothing. `must_be` says what it can be.
    pub fn required_integer(&self, key: &str, must_be: &str, findings: &mut Findings) -> Option<i64> {
        let text = match self.value(key, findings) {
            None => Some(CompactString::default()),
            Some(value) => self.clean(key, value, findings),
        };
        match text {
            Some(text) if text.is_empty() => self.refuse(key, Problem::Missing, findings),
            Some(text) if text.parse::<i64>().is_ok() => return text.parse().ok(),
            _ => self.refuse(key, Problem::MustBe(must_be.to_owned()), findings),
        }
        None
    }

    /// The key of the booking: a required string or number of bounded length.
    pub fn booking_ref(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        let reference = self.required(key, findings)?;
        if reference.chars().count() > MAX_REFERENCE_CHARS {
            let at_most = Problem::MustBe(format!("at most {MAX_REFERENCE_CHARS} characters long"));
            self.refuse(key, at_most, findings);
            return None;
        }
        Some(reference)
    }

    /// The fields of an object in this one; of a missing one there are none. They keep the path of a passenger, and at
    /// the top get their own.
    pub fn inner(&self, key: &'static str, findings: &mut Findings) -> Fields<'a> {
        let object = self.value(key, findings);
        if object.is_some_and(|value| value.kind() != Kind::Object) {
            self.warn(key, "is not an object", findings);
        }
        let path = match self.path {
            Path::Root => Path::Member(key),
            path => path,
        };
        Fields { object, path }
    }

    /// A day, written `YYYYMMDD`.
    pub fn date(&self, key: &str, findings: &mut Findings) -> Option<Date> {
        let text = self.expected(key, findings)?;
        // the format alone would take a year with a sign, and the year 0
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with("0000");
        let date = Date::parse(&text, format_description!("[year][month][day]")).ok().filter(|_| is_plain);
        if date.is_none() {
            self.warn(key, "is not a date (YYYYMMDD)", findings);
        }
        date
    }

    /// A day that is not after today.
    pub fn past_date(&self, key: &str, today: Date, findings: &mut Findings) -> Option<Date> {
        let date = self.date(key, findings)?;
        if date > today {
            self.warn(key, "lies in the future", findings);
        }
        Some(date).filter(|date| *date <= today)
    }

    /// What stands in a field, as Postgres can store it in `jsonb`. It is expected.
    pub fn as_sent(&self, key: &str, findings: &mut Findings) -> Option<String> {
        let value = self.any_value(key, findings);
        if value.is_none() {
            self.warn(key, "is missing", findings);
        }
        value.map(Value::storable)
    }

    /// Warns when a field that the provider's document calls mandatory is not there, whatever it holds. That it occurs
    /// more than once is for the one who reads it to say.
    pub fn expect(&self, key: &str, findings: &mut Findings) {
        let member = self.object.and_then(|object| object.member(key));
        if member.is_none_or(|member| member.value.kind() == Kind::Null) {
            self.warn(key, "is missing", findings);
        }
    }

    /// Notes that a required field cannot be used.
    pub fn refuse(&self, key: &str, problem: Problem, findings: &mut Findings) {
        findings.refuse(format!("{}{key}", self.path), problem);
    }

    /// Notes something odd about a field.
    pub fn warn(&self, key: &str, what: &str, findings: &mut Findings) {
        findings.warn(|| format!("{}{key} {what}", self.path));
    }

    /// Reads a field, and warns that it is missing, unless there is a warning about it already.
    pub(super) fn expecting<T>(
        &self,
        key: &str,
        findings: &mut Findings,
        read: impl FnOnce(&Self, &str, &mut Findings) -> Option<T>,
    ) -> Option<T> {
        let warned = findings.warned();
        let found = read(self, key, findings);
        if found.is_none() && findings.warned() == warned {
            self.warn(key, "is missing", findings);
        }
        found
    }

    /// The value of a field that is neither null nor the word null.
    pub(super) fn value(&self, key: &str, findings: &mut Findings) -> Option<Value<'a>> {
        let value = self.any_value(key, findings)?;
        if value.is_word("null") {
            self.warn(key, "is the word null", findings);
            return None;
        }
        Some(value)
    }

    /// The value of a field that is not null.
    fn any_value(&self, key: &str, findings: &mut Findings) -> Option<Value<'a>> {
        let Member { value, is_repeated } = self.object?.member(key)?;
        if is_repeated {
            self.warn(key, "occurs more than once; the last one counts", findings);
        }
        (value.kind() != Kind::Null).then_some(value)
    }

    /// The text of a string or number that is not empty.
    fn text(&self, key: &str, value: Value<'_>, findings: &mut Findings) -> Option<CompactString> {
        let text = self.clean(key, value, findings);
        if text.is_none() {
            self.warn(key, "is not a string", findings);
        }
        text.filter(|text| !text.is_empty())
    }

    /// The trimmed text of a string or number; `None` for anything else.
    pub(super) fn clean(&self, key: &str, value: Value<'_>, findings: &mut Findings) -> Option<CompactString> {
        let text = value.text()?;
        if text.repaired {
            self.warn(key, "held a lone surrogate, which was replaced", findings);
        }
        if !text.value.contains('\0') {
            return Some(text.value.trim().into());
        }
        self.warn(key, "held NUL characters, which were removed", findings);
        Some(text.value.replace('\0', "").trim().into())
    }
}
