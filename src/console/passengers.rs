//! The passengers of an event, with what is masked until somebody asks for it.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::payload::MASK;

/// As in the column `passengers`: what was not sent is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Passenger {
    title: Option<String>,
    first_name: Option<String>,
    middle_name: Option<String>,
    last_name: Option<String>,
    r#type: Option<String>,
    gender: Option<String>,
    birth_date: Option<String>,
    nationality: Option<String>,
    document: Option<Document>,
    pub(super) tickets: Vec<Ticket>,
    pub(super) airline_pnrs: Vec<String>,
    #[serde(skip)]
    is_masked: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    r#type: Option<String>,
    number: Option<String>,
    issued_by: Option<String>,
    expires_on: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ticket {
    raw: Option<String>,
    number: Option<String>,
}

impl Passenger {
    /// `None`: this version cannot read them.
    pub(super) fn list(json: &RawValue, is_masked: bool) -> Option<Vec<Self>> {
        let passengers: Vec<Self> = serde_json::from_str(json.get()).ok()?;
        Some(passengers.into_iter().map(|passenger| Self { is_masked, ..passenger }).collect())
    }

    pub(super) fn name(&self) -> String {
        let parts = [&self.title, &self.first_name, &self.middle_name, &self.last_name];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Type and gender, as sent.
    pub(super) fn kind(&self) -> String {
        let parts = [&self.r#type, &self.gender, &self.nationality];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" · ")
    }

    pub(super) fn birth_date(&self) -> Option<String> {
        self.birth_date.clone().map(|date| self.masked(date))
    }

    /// Its parts in a line.
    pub(super) fn document(&self) -> Option<String> {
        let Document { r#type, number, issued_by, expires_on } = self.document.as_ref()?;
        let expires_on = expires_on.as_ref().map(|date| format!("until {date}"));
        let parts = [r#type, number, issued_by, &expires_on];
        Some(self.masked(parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" · ")))
    }

    fn masked(&self, text: String) -> String {
        if self.is_masked { MASK.to_owned() } else { text }
    }
}

impl Ticket {
    pub(super) fn text(&self) -> &str {
        self.number.as_deref().or(self.raw.as_deref()).unwrap_or_default()
    }
}

/// The names of all, in a line.
pub(super) fn names(json: &RawValue) -> String {
    let passengers = Passenger::list(json, true).unwrap_or_default();
    passengers.iter().map(Passenger::name).collect::<Vec<_>>().join(", ")
}
