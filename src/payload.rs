//! What is kept of an authenticated delivery, and the lenient reading of its fields.
//!
//! A [`Payload`] can only be made with the proof that its credentials were right, and it no longer contains them; the
//! providers normalize nothing else. Reading it never fails: what is missing or odd in a required field becomes a
//! [`FieldError`], everywhere else a warning, and the rest goes on.
//!
//! The rules are the same for every field of every provider: `null` counts as missing, strings are trimmed, an empty
//! one counts as missing, a number where a string is expected is taken as its digits, NUL characters (which Postgres
//! cannot store in text) are removed, of a repeated key the last one counts.

mod findings;

use std::{borrow::Cow, fmt};

use compact_str::CompactString;
use time::{Date, macros::format_description};

pub use self::findings::{FieldError, Findings, Problem};
use crate::{
    credentials::Verified,
    json::{Document, Index, Kind, Member, Value},
    redaction::Redactor,
};

/// A booking reference may have this many characters; an index entry in Postgres is bounded.
pub const MAX_REFERENCE_CHARS: usize = 255;

/// A booking may have this many passengers: far above any real one, it bounds the work that one delivery can make.
pub const MAX_PASSENGERS: usize = 1000;

/// The JSON of an authenticated delivery, less the credentials.
pub struct Payload {
    text: String,
    index: Index,
}

impl Payload {
    /// Takes the members that carry credentials, and every known secret, out of a document.
    pub fn new(_proof: Verified<'_>, document: Document<'_>, credential_members: &[&str], redactor: &Redactor) -> Self {
        match redactor.json(&document, credential_members) {
            Cow::Borrowed(text) => Self { text: text.to_owned(), index: document.into_index() },
            Cow::Owned(text) => {
                let index = Index::of(&text).expect("taking members and strings out leaves valid JSON");
                Self { text, index }
            }
        }
    }

    /// The payload of a delivery that was authenticated and redacted when it was kept; `None` for what is no JSON.
    pub fn restore(text: &str) -> Option<Self> {
        let document = Document::parse(text.as_bytes()).ok()?;
        // the index is of the text without what may stand around it
        Some(Self { text: document.as_str().to_owned(), index: document.into_index() })
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its text.
    pub fn into_string(self) -> String {
        self.text
    }

    /// Its members. What is no object has none.
    pub fn fields(&self) -> Fields<'_> {
        Fields { object: Some(self.index.root(&self.text)), path: Path::Root }
    }
}

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
    /// A field that need not be there.
    pub fn optional(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        let value = self.value(key, findings)?;
        let text = self.clean(key, value, findings);
        if text.is_none() {
            findings.warn(|| format!("{}{key} is not a string", self.path));
        }
        text.filter(|text| !text.is_empty())
    }

    /// A field that the provider's document calls mandatory, without which the delivery still means something.
    pub fn expected(&self, key: &str, findings: &mut Findings) -> Option<CompactString> {
        let warned = findings.warned();
        let text = self.optional(key, findings);
        if text.is_none() && findings.warned() == warned {
            findings.warn(|| format!("{}{key} is missing", self.path));
        }
        text
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

    /// The passengers, an object each, from a required array. An element that is no object is a passenger of whom
    /// nothing is known, except that null is none.
    pub fn passengers(&self, key: &str, findings: &mut Findings) -> Option<Vec<Fields<'a>>> {
        let elements = match self.value(key, findings) {
            None => {
                self.refuse(key, Problem::Missing, findings);
                return None;
            }
            Some(value) => value.elements(),
        };
        let Some(elements) = elements else {
            self.refuse(key, Problem::MustBe("an array".to_owned()), findings);
            return None;
        };
        if elements.clone().nth(MAX_PASSENGERS).is_some() {
            let at_most = format!("an array of at most {MAX_PASSENGERS} elements");
            self.refuse(key, Problem::MustBe(at_most), findings);
            return None;
        }
        let mut passengers = Vec::new();
        for (index, element) in elements.enumerate() {
            if element.kind() != Kind::Object {
                findings.warn(|| format!("passengers[{index}] is not an object"));
            }
            if element.kind() != Kind::Null {
                passengers.push(Fields { object: Some(element), path: Path::Passenger(index) });
            }
        }
        Some(passengers)
    }

    /// The fields of an object in this one; of a missing one there are none. They keep the path of a passenger, and at
    /// the top get their own.
    pub fn inner(&self, key: &'static str, findings: &mut Findings) -> Fields<'a> {
        let object = self.value(key, findings);
        if object.is_some_and(|value| value.kind() != Kind::Object) {
            findings.warn(|| format!("{}{key} is not an object", self.path));
        }
        let path = match self.path {
            Path::Root => Path::Member(key),
            path => path,
        };
        Fields { object, path }
    }

    /// The strings of a list, empty ones left out; a single string is a list of one.
    pub fn list(&self, key: &str, findings: &mut Findings) -> Vec<CompactString> {
        let Some(value) = self.value(key, findings) else { return Vec::new() };
        let mut texts = Vec::new();
        let mut take = |element: Value<'_>| match self.clean(key, element, findings) {
            Some(text) if !text.is_empty() => texts.push(text),
            Some(_) => {}
            None if element.kind() == Kind::Null => {}
            None => findings.warn(|| format!("{}{key} holds something that is not a string", self.path)),
        };
        match value.elements() {
            Some(elements) => elements.for_each(take),
            None => take(value),
        }
        texts
    }

    /// A day, written `YYYYMMDD`.
    pub fn date(&self, key: &str, findings: &mut Findings) -> Option<Date> {
        let text = self.expected(key, findings)?;
        // the format alone would take a year with a sign, and the year 0
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with("0000");
        let date = Date::parse(&text, format_description!("[year][month][day]")).ok().filter(|_| is_plain);
        if date.is_none() {
            findings.warn(|| format!("{}{key} is not a date (YYYYMMDD)", self.path));
        }
        date
    }

    /// A whole number or a string of one that the provider's document calls mandatory.
    pub fn expected_integer(&self, key: &str, findings: &mut Findings) -> Option<i64> {
        let text = self.expected(key, findings)?;
        let number = text.parse().ok();
        if number.is_none() {
            findings.warn(|| format!("{}{key} is not an integer", self.path));
        }
        number
    }

    /// Warns when a field that the provider's document calls mandatory is not there, whatever it holds. That it occurs
    /// more than once is for the one who reads it to say.
    pub fn expect(&self, key: &str, findings: &mut Findings) {
        let member = self.object.and_then(|object| object.member(key));
        if member.is_none_or(|member| member.value.kind() == Kind::Null) {
            findings.warn(|| format!("{}{key} is missing", self.path));
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

    fn value(&self, key: &str, findings: &mut Findings) -> Option<Value<'a>> {
        let Member { value, is_repeated } = self.object?.member(key)?;
        if is_repeated {
            findings.warn(|| format!("{}{key} occurs more than once; the last one counts", self.path));
        }
        (value.kind() != Kind::Null).then_some(value)
    }

    /// The trimmed text of a string or number; `None` for anything else.
    fn clean(&self, key: &str, value: Value<'_>, findings: &mut Findings) -> Option<CompactString> {
        let text = value.text()?;
        if text.repaired {
            findings.warn(|| format!("{}{key} held a lone surrogate, which was replaced", self.path));
        }
        if !text.value.contains('\0') {
            return Some(text.value.trim().into());
        }
        findings.warn(|| format!("{}{key} held NUL characters, which were removed", self.path));
        Some(text.value.replace('\0', "").trim().into())
    }
}
