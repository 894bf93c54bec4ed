use std::time::Duration;

use ratatui::{
    style::Stylize as _,
    text::{Line, Span},
};

use crate::demo::trace::{Trace, TreeSpan};

const MAX_SPANS: usize = 8;
/// The columns of the side, the duration and the spaces between.
const FIXED_WIDTH: usize = 18;
const MAX_NAME_WIDTH: usize = 48;

/// A trace as a tree, with bars from the beginning to the end of each span where there is room.
pub(super) fn lines<'a>(trace: Option<&Trace>, width: u16) -> Vec<Line<'a>> {
    let tree = trace.map(Trace::tree).unwrap_or_default();
    let Some(root) = tree.first() else { return vec![Line::from("none yet").dim()] };
    let longest = tree.iter().map(|span| span.name.chars().count()).max().unwrap_or(0);
    let name = longest.min(MAX_NAME_WIDTH).min(usize::from(width).saturating_sub(FIXED_WIDTH));
    let bar = usize::from(width).saturating_sub(name + FIXED_WIDTH + 1);
    let whole = root.duration;
    tree.iter().take(MAX_SPANS).map(|span| line(span, name, bar, whole)).collect()
}

fn line<'a>(span: &TreeSpan, name: usize, bar: usize, whole: Duration) -> Line<'a> {
    let TreeSpan { side, start, duration, error, .. } = span;
    let text = format!("{:<name$.name$} {side:<6} {:>9} ", span.name, format_duration(*duration));
    let mut line = Line::from(Span::raw(text));
    match error {
        Some(error) => line.push_span(error.clone().red()),
        None => line.push_span(self::bar(*start, *duration, whole, bar).cyan()),
    }
    line
}

/// Draws where in the trace a span lies, at least one cell wide.
fn bar(start: Duration, duration: Duration, whole: Duration, room: usize) -> String {
    if room == 0 || whole.is_zero() {
        return String::new();
    }
    let cell = |at: Duration| {
        let part = (at.as_secs_f64() / whole.as_secs_f64()).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the room")]
        let cell = (part * room as f64).round() as usize;
        cell
    };
    let from = cell(start).min(room - 1);
    let to = cell(start + duration).max(from + 1);
    " ".repeat(from) + &"━".repeat(to - from)
}

/// With about three digits.
fn format_duration(duration: Duration) -> String {
    let microseconds = duration.as_secs_f64() * 1e6;
    if microseconds < 1000.0 {
        format!("{microseconds:.0} µs")
    } else if microseconds < 1e6 {
        format!("{:.2} ms", microseconds / 1e3)
    } else {
        format!("{:.2} s", microseconds / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_lie_where_the_span_lies() {
        let at = Duration::from_millis;
        assert_eq!(bar(at(0), at(10), at(10), 10), "━━━━━━━━━━");
        assert_eq!(bar(at(5), at(3), at(10), 10), "     ━━━");
        assert_eq!(bar(at(10), at(0), at(10), 10), "         ━");
        assert_eq!(bar(at(0), at(1), at(0), 10), "");
    }

    #[test]
    fn durations_have_their_unit() {
        assert_eq!(format_duration(Duration::from_micros(812)), "812 µs");
        assert_eq!(format_duration(Duration::from_micros(3214)), "3.21 ms");
        assert_eq!(format_duration(Duration::from_millis(2999)), "3.00 s");
    }
}
