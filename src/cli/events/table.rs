//! Events for people: a line each, in columns.
//!
//! Invariant: nothing that was sent changes what a terminal shows beyond its own characters.

use std::{env, fmt::Write as _, io};

use time::{OffsetDateTime, macros::format_description};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::store::{Content, Item};

/// Of a terminal that does not tell.
const DEFAULT_WIDTH: usize = 100;

/// Beyond it a column does not push the others away.
const MAX_COLUMN_WIDTH: usize = 40;

const COLUMNS: usize = 8;

const HEADER: [&str; COLUMNS] =
    ["RECEIVED (UTC)", "PROVIDER", "ENVIRONMENT", "BOOKING", "REVISION", "STATUS", "PNR", "TICKETS"];

/// The lines are as wide as the terminal; elsewhere they are whole.
pub(super) struct Table {
    is_terminal: bool,
    has_colour: bool,
    widths: [usize; COLUMNS],
    has_header: bool,
}

impl Table {
    pub(super) fn new(is_terminal: bool) -> Self {
        let has_colour = is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { is_terminal, has_colour, widths: HEADER.map(str::len), has_header: false }
    }

    /// Columns only become wider: lines stand below those that were printed before.
    pub(super) fn lines(&mut self, items: &[Item]) -> String {
        let rows: Vec<_> = items.iter().map(cells).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count().min(MAX_COLUMN_WIDTH));
            }
        }
        let mut lines = String::new();
        if !rows.is_empty() && self.is_terminal && !self.has_header {
            self.has_header = true;
            lines += &self.line(&HEADER.map(str::to_owned), None);
        }
        for (row, item) in rows.iter().zip(items) {
            lines += &self.line(row, colour(item.content.status()));
        }
        lines
    }

    fn line(&self, cells: &[String; COLUMNS], colour: Option<&str>) -> String {
        let mut line = String::new();
        for (cell, width) in cells.iter().zip(self.widths) {
            // writing to a string cannot fail
            let _ = write!(line, "{cell:width$}  ");
        }
        let mut line = line.trim_end().to_owned();
        if self.is_terminal {
            line = cut(line, terminal_width());
        }
        match colour.filter(|_| self.has_colour) {
            Some(colour) => format!("\x1b[{colour}m{line}\x1b[0m\n"),
            None => line + "\n",
        }
    }
}

fn cells(item: &Item) -> [String; COLUMNS] {
    let content = &item.content;
    let (time, revision, status, pnr, tickets) = match content {
        Content::Revision(event) => {
            let status = match event.previous_status.as_deref() {
                Some(previous) if previous != event.status => format!("{}, was {previous}", event.status),
                _ => event.status.clone(),
            };
            let late = if event.late { " late" } else { "" };
            let pnr = event.pnr.clone().or_else(|| event.airline_pnrs.first().cloned()).unwrap_or_default();
            (event.received_at, format!("{}{late}", event.revision), status, pnr, event.ticket_numbers.join(" "))
        }
        Content::Erased(erased) => {
            (erased.recorded_at, String::new(), "erased".to_owned(), String::new(), String::new())
        }
        Content::Overdue(overdue) => {
            let status = overdue.status.as_deref().unwrap_or("nothing came");
            (overdue.recorded_at, String::new(), format!("overdue: {status}"), String::new(), String::new())
        }
    };
    [
        time_text(time),
        content.provider().to_owned(),
        content.environment().to_owned(),
        content.booking_ref().to_owned(),
        revision,
        status,
        pnr,
        tickets,
    ]
    .map(|cell| escaped(&cell))
}

fn time_text(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
    time.to_offset(time::UtcOffset::UTC).format(&format).unwrap_or_default()
}

/// What asks for action is red, what is done is green.
fn colour(status: Option<&str>) -> Option<&'static str> {
    match status? {
        "failed" | "aborted" | "cancelled" => Some("31"),
        "ticketed" => Some("32"),
        "partially_ticketed" => Some("33"),
        _ => None,
    }
}

fn terminal_width() -> usize {
    let columns = rustix::termios::tcgetwinsize(io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { DEFAULT_WIDTH } else { columns }
}

/// At most `width` characters.
fn cut(line: String, width: usize) -> String {
    if line.chars().count() <= width {
        return line;
    }
    let mut cut: String = line.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// Control characters, those that change the direction of text, and invisible ones, as JSON escapes them.
pub(in crate::cli) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let is_unsafe = matches!(
            character.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        );
        if is_unsafe {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_a_terminal_is_escaped() {
        assert_eq!(escaped("a\x1b[31m\u{202e}b\u{9b}\u{e0041}é"), "a\\u001b[31m\\u202eb\\u009b\\udb40\\udc41é");
    }

    #[test]
    fn a_line_is_not_wider_than_the_terminal() {
        assert_eq!(cut("é1234".to_owned(), 5), "é1234");
        assert_eq!(cut("é12345".to_owned(), 5), "é123…");
    }
}
