use std::collections::VecDeque;

use ratatui::{
    layout::Rect,
    style::Stylize as _,
    text::{Line, Span, Text},
    widgets::Table,
};

use super::table::{self, Column, highlight};
use crate::demo::sensors::{Sensor, State};

const COLUMNS: [Column; 7] = [
    Column { title: "", width: NAME_WIDTH, min_terminal_width: 0, align_right: false },
    Column { title: "state", width: 11, min_terminal_width: 72, align_right: false },
    Column { title: "last °C", width: 8, min_terminal_width: 0, align_right: true },
    Column { title: "mean °C", width: 8, min_terminal_width: 92, align_right: true },
    Column { title: "readings", width: 8, min_terminal_width: 100, align_right: true },
    Column { title: "alerts", width: 6, min_terminal_width: 38, align_right: true },
    Column { title: "lowest to highest °C", width: 0, min_terminal_width: 44, align_right: false },
];
/// The width of a sensor's name, unless there is plenty of room.
const NAME_WIDTH: u16 = 20;
/// The border and the header.
const HEADER_HEIGHT: u16 = 2;
/// A taller chart shows no more detail.
const MAX_CHART_HEIGHT: u16 = 6;
/// The width of the scale beside a chart.
const SCALE_WIDTH: usize = 7;

/// Returns the height at which more is of no use.
pub(super) fn height(sensors: usize) -> u16 {
    HEADER_HEIGHT.saturating_add(u16::try_from(sensors).unwrap_or(u16::MAX).saturating_mul(MAX_CHART_HEIGHT))
}

/// The sensors as the server knows them, as many as there is room for, with charts as tall as there is room for.
pub(super) fn table<'a>(sensors: &[Sensor], area: Rect) -> Table<'a> {
    let rows = usize::from(area.height.saturating_sub(HEADER_HEIGHT));
    // The last row says how many are not shown.
    let shown = if sensors.len() > rows { rows.saturating_sub(1) } else { sensors.len() };
    let height = rows.checked_div(sensors.len()).unwrap_or(1).clamp(1, usize::from(MAX_CHART_HEIGHT));
    let mut cells: Vec<Vec<Text>> = sensors[..shown].iter().map(cells).collect();
    if shown < sensors.len() {
        cells.push(vec![Text::from(format!("and {} more", sensors.len() - shown).dim())]);
    }
    let widths = table::widths(&COLUMNS, &cells, area.width, area.width / 4);
    let fixed: u16 = widths.iter().flatten().map(|width| width + 1).sum();
    let room = usize::from(area.width.saturating_sub(fixed));
    for (cells, sensor) in cells.iter_mut().zip(&sensors[..shown]) {
        cells.push(chart(&sensor.history, room, height));
    }
    table::table(" sensors ", &COLUMNS, cells, &widths)
}

/// All but the chart.
fn cells<'a>(sensor: &Sensor) -> Vec<Text<'a>> {
    let state = match sensor.state() {
        State::Alerting => "alert".red().bold(),
        State::Silent(duration) => format!("silent {} s", duration.as_secs()).yellow(),
        State::Active => Span::raw(""),
    };
    let alerting = matches!(sensor.state(), State::Alerting);
    let name = format!("{}{}", state_symbol(sensor), table::printable(&sensor.id));
    [
        highlight(name, alerting),
        state,
        highlight(format!("{:.2}", sensor.last), alerting),
        Span::raw(format!("{:.2}", sensor.mean)),
        Span::raw(sensor.count.to_string()),
        highlight(sensor.alerts.to_string(), sensor.alerts > 0),
    ]
    .map(Text::from)
    .into()
}

/// Returns a symbol for the state, for terminals that are too narrow for its column or have no colour.
fn state_symbol(sensor: &Sensor) -> char {
    match sensor.state() {
        State::Alerting => '!',
        State::Silent(_) => '?',
        State::Active => ' ',
    }
}

/// The newest values that fit, between the lowest and the highest of them, which are its scale; nothing where that does
/// not fit.
fn chart<'a>(values: &VecDeque<f64>, room: usize, height: usize) -> Text<'a> {
    let beside = if height == 1 { 2 * SCALE_WIDTH } else { SCALE_WIDTH };
    let Some(bars) = room.checked_sub(beside).filter(|bars| *bars > 0) else { return Text::default() };
    let (lines, scale) = sparkline(values, bars, height);
    let Some((lowest, highest)) = scale else { return Text::default() };
    let (lowest, highest) = (format!("{lowest:.1}"), format!("{highest:.1}"));
    let last = lines.len() - 1;
    let scaled = lines.into_iter().enumerate().map(|(at, line)| {
        if last == 0 {
            return vec![format!("{lowest:>6} ").dim(), line.cyan(), format!(" {highest}").dim()];
        }
        let scale = if at == 0 { &highest } else { &lowest };
        let scale = if at == 0 || at == last { format!(" {scale}") } else { String::new() };
        vec![line.cyan(), scale.dim()]
    });
    let chart = Text::from(scaled.map(Line::from).collect::<Vec<_>>());
    if chart.width() > room { Text::default() } else { chart }
}

/// Returns bars in `height` lines, the highest first, and the values of the bottom and the top.
fn sparkline(values: &VecDeque<f64>, room: usize, height: usize) -> (Vec<String>, Option<(f64, f64)>) {
    const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const STEPS: usize = BARS.len() - 1;
    let values: Vec<_> = values.iter().skip(values.len().saturating_sub(room)).copied().collect();
    let least = values.iter().copied().reduce(f64::min);
    let Some((least, greatest)) = least.zip(values.iter().copied().reduce(f64::max)) else {
        return (Vec::new(), None);
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to the steps; NaN is 0"
    )]
    let level = |value: f64| {
        1 + ((height * STEPS - 1) as f64 * (value - least) / (greatest - least)).round() as usize
    };
    let line = |below: usize| {
        values.iter().map(|value| BARS[level(*value).saturating_sub(below * STEPS).min(STEPS)]).collect()
    };
    ((0..height).rev().map(line).collect(), Some((least, greatest)))
}

#[cfg(test)]
mod tests {
    use super::{chart, sparkline};

    fn bars(values: &[f64], room: usize, height: usize) -> Vec<String> {
        sparkline(&values.iter().copied().collect(), room, height).0
    }

    #[test]
    fn sparkline_spans_from_the_least_to_the_greatest() {
        assert_eq!(bars(&[20.0, 21.0, 27.0], 10, 1), ["▁▂█"]);
        assert_eq!(bars(&[-300.0, 20.0, 27.0], 2, 1), ["▁█"]);
        assert_eq!(bars(&[20.0, 20.0], 10, 1), ["▁▁"]);
        assert_eq!(bars(&[20.0, 23.5, 27.0], 10, 2), [" ▁█", "▁██"]);
        assert!(bars(&[], 10, 1).is_empty());
    }

    #[test]
    fn chart_has_its_scale() {
        let values = [-3.25, 20.0, 100.75].into();
        assert_eq!(chart(&values, 20, 1).to_string(), "  -3.2 ▁▃█ 100.8");
        assert_eq!(chart(&values, 20, 2).to_string(), "  █ 100.8\n▁▄█ -3.2");
        assert_eq!(chart(&values, 14, 1).to_string(), "");
        assert_eq!(chart(&[].into(), 20, 1).to_string(), "");
    }

    #[test]
    fn chart_without_room_for_its_scale_is_absent() {
        let values = [-273.15, 1e6].into();
        assert_eq!(chart(&values, 20, 1).to_string(), "-273.1 ▁█ 1000000.0");
        assert_eq!(chart(&values, 18, 1).to_string(), "");
        assert_eq!(chart(&values, 11, 2).to_string(), "");
    }
}
