//! Small bar charts, as SVG that is a part of the page.

use std::fmt::{self, Display, Formatter};

use askama::filters::HtmlSafe;

/// Of the drawing, in its own units; a page gives it its size.
const HEIGHT: f64 = 40.0;

/// The least that is seen of a value that is not 0.
const MIN_BAR: f64 = 2.0;

/// A bar for each value, the newest last.
pub(super) struct Chart {
    values: Vec<f64>,
    /// For those who do not see it.
    label: String,
    /// In the colour of what needs attention.
    is_alarm: bool,
}

impl HtmlSafe for Chart {}

impl Chart {
    /// Of how often something happened in each period.
    pub(super) fn of_counts(name: &str, counts: &[i64], is_alarm: bool) -> Self {
        let (total, most) = (counts.iter().sum::<i64>(), counts.iter().max().copied().unwrap_or_default());
        let label = format!("{name}: {total} in the last day, at most {most} in ten minutes");
        Self { values: counts.iter().map(|count| *count as f64).collect(), label, is_alarm: is_alarm && total > 0 }
    }

    /// Of times in seconds, `None` where there were none.
    pub(super) fn of_seconds(name: &str, seconds: &[Option<f64>]) -> Self {
        let most = seconds.iter().flatten().copied().fold(0.0, f64::max);
        let label = format!("{name}: at most {} in the last day", duration(most));
        Self { values: seconds.iter().map(|value| value.unwrap_or_default()).collect(), label, is_alarm: false }
    }
}

impl Display for Chart {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let most = self.values.iter().copied().fold(0.0, f64::max);
        let alarm = if self.is_alarm { " alarm" } else { "" };
        write!(
            formatter,
            r#"<svg class="chart{alarm}" viewBox="0 0 {} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{}">"#,
            self.values.len(),
            self.label
        )?;
        for (index, value) in self.values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
            let height = (value / most * HEIGHT).max(MIN_BAR);
            let top = HEIGHT - height;
            write!(formatter, r#"<rect x="{index}" y="{top:.1}" width="0.8" height="{height:.1}"/>"#)?;
        }
        formatter.write_str("</svg>")
    }
}

/// A time in seconds, as people say it.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds <= 0.0 => "0 ms".to_owned(),
        seconds if seconds < 0.001 => "1 ms".to_owned(),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.0} h", seconds / 3600.0),
        seconds => format!("{:.0} days", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_not_0_is_seen_beside_a_large_one() {
        let chart = Chart::of_counts("recorded", &[0, 1, 1000], true).to_string();
        assert!(chart.contains("recorded: 1001 in the last day, at most 1000 in ten minutes"), "{chart}");
        assert!(chart.contains(r#"x="1" y="38.0" width="0.8" height="2.0""#), "{chart}");
        assert_eq!(chart.matches("<rect").count(), 2);
        assert!(chart.contains("chart alarm"));
        assert!(!Chart::of_counts("unprocessed", &[0, 0], true).to_string().contains("alarm"));
    }

    #[test]
    fn durations_are_short() {
        let words: Vec<_> = [0.0, 0.0002, 0.25, 5.0, 600.0, 7300.0, 200_000.0].map(duration).to_vec();
        assert_eq!(words, ["0 ms", "1 ms", "250 ms", "5 s", "10 min", "2 h", "2 days"]);
    }
}
