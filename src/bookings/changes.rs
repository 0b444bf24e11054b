//! What a revision changed, compared with another.

use serde::Serialize;
use utoipa::ToSchema;

use crate::store::Compared;

/// What is left out did not change.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Changes {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pnr: Option<Change>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ticket_numbers: Option<Difference>,
    /// By their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passengers: Option<Difference>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    pub from: Option<String>,
    pub to: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Difference {
    pub added: Vec<String>,
    pub removed: Vec<String>,
}

pub(super) fn compare(before: &Compared, after: &Compared) -> Changes {
    let change = |from: Option<&str>, to: Option<&str>| {
        (from != to).then(|| Change { from: from.map(str::to_owned), to: to.map(str::to_owned) })
    };
    Changes {
        status: change(Some(&before.status), Some(&after.status)),
        pnr: change(before.pnr.as_deref(), after.pnr.as_deref()),
        ticket_numbers: difference(&before.ticket_numbers, &after.ticket_numbers),
        passengers: difference(&before.names, &after.names),
    }
}

/// Two passengers may have one name: each of them counts.
fn difference(before: &[String], after: &[String]) -> Option<Difference> {
    let difference = Difference { added: without(after, before), removed: without(before, after) };
    (!difference.added.is_empty() || !difference.removed.is_empty()).then_some(difference)
}

/// What is left of `texts` when each of `others` has taken one that is equal.
fn without(texts: &[String], others: &[String]) -> Vec<String> {
    let mut counts = std::collections::HashMap::<&str, usize>::new();
    for other in others {
        *counts.entry(other).or_default() += 1;
    }
    let is_left = |text: &&String| match counts.get_mut(text.as_str()) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    texts.iter().filter(is_left).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn compared(status: &str, pnr: Option<&str>, ticket_numbers: &[&str], names: &[&str]) -> Compared {
        Compared {
            status: status.to_owned(),
            pnr: pnr.map(str::to_owned),
            ticket_numbers: texts(ticket_numbers),
            names: texts(names),
        }
    }

    #[test]
    fn only_what_changed_is_named_and_passengers_of_one_name_are_counted() {
        let before = compared("pending", None, &["1", "2"], &["Ann Li", "Ann Li", "Bo Li"]);
        let after = compared("ticketed", Some("ABC"), &["2", "3"], &["Ann Li", "Bo Li", "Cy Li"]);
        let changes = compare(&before, &after);
        assert_eq!(changes.status, Some(Change { from: Some("pending".into()), to: Some("ticketed".into()) }));
        assert_eq!(changes.pnr, Some(Change { from: None, to: Some("ABC".into()) }));
        let difference =
            |added: &[&str], removed: &[&str]| Some(Difference { added: texts(added), removed: texts(removed) });
        assert_eq!(changes.ticket_numbers, difference(&["3"], &["1"]));
        assert_eq!(changes.passengers, difference(&["Cy Li"], &["Ann Li"]));
        let same = compare(&before, &before);
        assert_eq!(same, Changes { status: None, pnr: None, ticket_numbers: None, passengers: None });
    }
}
