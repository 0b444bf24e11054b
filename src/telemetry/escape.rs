//! Escapes what would make a terminal show a log line as something else: control characters, those that change the
//! direction of text, and invisible ones.
//!
//! The formatters of `tracing-subscriber` do so in part: JSON escapes what is below U+0020, text the ANSI sequences in
//! values.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use tracing_subscriber::fmt::MakeWriter;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Begins the sequences by which the text formatter colours a line; it escapes those in values itself.
const ESCAPE: u8 = 0x1b;

/// Escapes before it writes to `M`. A formatter hands over a whole line at a time.
pub(super) struct Escaped<M>(pub(super) M);

pub(super) struct EscapedWriter<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for Escaped<M> {
    type Writer = EscapedWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        EscapedWriter(self.0.make_writer())
    }
}

impl<W: Write> Write for EscapedWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let (text, end) = line.strip_suffix(b"\n").map_or((line, ""), |text| (text, "\n"));
        // without an early exit the compiler vectorizes it
        let is_plain = text.iter().fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~' | &ESCAPE));
        if is_plain {
            self.0.write_all(line)?;
        } else {
            self.0.write_all((escape(&String::from_utf8_lossy(text)) + end).as_bytes())?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// As JSON does: in a line of JSON such characters stand in strings only.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            // as JSON writes it; writing to a string cannot fail
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn is_unsafe(character: char) -> bool {
    // Format: the direction of text, zero-width characters, tags
    let is_invisible = matches!(
        character.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    is_invisible && character != char::from(ESCAPE)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing_subscriber::fmt::format::{DefaultFields, Format};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn all() -> String {
        let characters = (0..0x250).filter_map(char::from_u32);
        characters.chain(['\u{2028}', '\u{202e}', '\u{2066}', '\u{fffd}', '😀']).collect()
    }

    fn changes_a_terminal(character: char) -> bool {
        character.is_control() || ('\u{202a}'..='\u{202e}').contains(&character)
    }

    #[test]
    fn any_text_and_any_number_is_json() {
        let (all, buffer) = (all(), Buffer::default());
        let writer = buffer.clone();
        let subscriber = super::super::json(tracing_subscriber::fmt(), move || writer.clone());
        tracing::subscriber::with_default(subscriber.finish(), || {
            tracing::info!(
                text = all,
                shown = format_args!("{all}{all:?}"),
                number = -1.5e-7,
                r#type = u64::MAX,
                "{all}"
            );
        });
        let line = buffer.text();
        assert!(!line.trim_end_matches('\n').contains(changes_a_terminal));
        let mut line: Value = serde_json::from_str(&line).unwrap();
        let time = line.as_object_mut().unwrap().remove("timestamp").unwrap();
        let expected = json!({
            "level": "INFO",
            "message": all,
            "text": all,
            "shown": format!("{all}{all:?}"),
            "number": -1.5e-7,
            "type": u64::MAX,
            "target": module_path!(),
        });
        assert_eq!(line, expected);
        assert_eq!(time.as_str().unwrap().len(), "2026-01-02T03:04:05.000678Z".len(), "to the microsecond: {time}");
    }

    #[test]
    fn text_shows_nothing_that_changes_a_terminal() {
        let (all, buffer) = (all(), Buffer::default());
        let writer = buffer.clone();
        let format = Format::default().compact().with_ansi(false);
        let subscriber = tracing_subscriber::fmt().event_format(format).fmt_fields(DefaultFields::new());
        let subscriber = subscriber.with_writer(Escaped(move || writer.clone()));
        tracing::subscriber::with_default(subscriber.finish(), || tracing::info!(text = all, "{all}"));
        let line = buffer.text();
        assert!(!line.trim_end_matches('\n').contains(changes_a_terminal), "{line:?}");
    }
}
