use std::collections::VecDeque;

use ratatui::{layout::Rect, style::Stylize as _, text::Span, widgets::Table};

use super::draw::{self, Column, warn};
use crate::demo::sensors::Sensor;

const COLUMNS: [Column; 6] = [
    Column { title: "", width: 20, from: 0, right: false },
    Column { title: "last °C", width: 8, from: 0, right: true },
    Column { title: "mean °C", width: 8, from: 52, right: true },
    Column { title: "readings", width: 9, from: 64, right: true },
    Column { title: "alerts", width: 7, from: 38, right: true },
    Column { title: "", width: 0, from: 44, right: false },
];
/// The rule and the header.
const ABOVE: u16 = 2;

/// To show so many.
pub(super) fn height(sensors: usize) -> u16 {
    ABOVE.saturating_add(u16::try_from(sensors).unwrap_or(u16::MAX))
}

/// The sensors as the server knows them, as many as there is room for.
pub(super) fn table<'a>(sensors: &[Sensor], area: Rect) -> Table<'a> {
    let fixed: u16 =
        COLUMNS.iter().filter(|column| area.width >= column.from).map(|column| column.width + 1).sum();
    let room = usize::from(area.width.saturating_sub(fixed));
    let rows = usize::from(area.height.saturating_sub(ABOVE));
    // The last row says how many are not shown.
    let shown = if sensors.len() > rows { rows.saturating_sub(1) } else { sensors.len() };
    let mut cells: Vec<_> = sensors[..shown].iter().map(|sensor| row(sensor, room)).collect();
    if shown < sensors.len() {
        cells.push(vec![format!("and {} more", sensors.len() - shown).dim()]);
    }
    draw::table(" sensors ", &COLUMNS, cells, area.width)
}

fn row<'a>(sensor: &Sensor, room: usize) -> Vec<Span<'a>> {
    vec![
        warn(sensor.id.clone(), sensor.alerting),
        warn(format!("{:.2}", sensor.last), sensor.alerting),
        Span::raw(format!("{:.2}", sensor.mean)),
        Span::raw(sensor.count.to_string()),
        warn(sensor.alerts.to_string(), sensor.alerts > 0),
        sparkline(&sensor.history, room).cyan(),
    ]
}

/// The newest values that fit, between the least and the greatest of them.
fn sparkline(values: &VecDeque<f64>, room: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let values = values.iter().skip(values.len().saturating_sub(room));
    let (least, greatest) =
        values.clone().fold((f64::INFINITY, f64::NEG_INFINITY), |(least, greatest), value| {
            (least.min(*value), greatest.max(*value))
        });
    let level = |value: f64| (BARS.len() - 1) as f64 * (value - least) / (greatest - least);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 7; NaN becomes 0")]
    values.map(|value| BARS[level(*value).round() as usize]).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_sparkline_spans_from_the_least_to_the_greatest() {
        assert_eq!(sparkline(&[20.0, 21.0, 27.0].into(), 10), "▁▂█");
        assert_eq!(sparkline(&[-300.0, 20.0, 27.0].into(), 2), "▁█");
        assert_eq!(sparkline(&[20.0, 20.0].into(), 10), "▁▁");
        assert_eq!(sparkline(&[].into(), 10), "");
    }
}
