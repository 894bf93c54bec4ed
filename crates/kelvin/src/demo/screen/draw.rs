use std::net::SocketAddr;

use kelvin_app::pluralize;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Modifier, Style, Stylize as _},
    text::{Line, Span, Text},
    widgets::{Block, Borders, Paragraph, Row, Table},
};

use super::{calls, connect, sensors, trace};
use crate::demo::{trace::Trace, view::View};

/// All that is drawn.
pub(super) struct Picture<'a> {
    pub(super) address: SocketAddr,
    /// A second: calls by type, then readings.
    pub(super) rates: [f64; 5],
    pub(super) trace: Option<&'a Trace>,
    pub(super) grpcurl: &'a [String],
    /// The last warning.
    pub(super) log: &'a str,
    pub(super) view: &'a View,
}

/// A column of a table, there when the picture is at least `from` wide.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// 0 takes what is left.
    pub(super) width: u16,
    pub(super) from: u16,
    pub(super) right: bool,
}

/// What sensors need to be worth a section: the rule, the header and a sensor.
const SENSORS: u16 = 3;

impl Picture<'_> {
    pub(super) fn draw(&self, frame: &mut Frame) {
        let area = frame.area();
        let connect = connect::lines(self.grpcurl, area.width);
        let tree = trace::lines(self.trace, area.width);
        let height = |lines: &[Line]| 1 + u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let log = u16::from(!self.log.is_empty());
        // Where there is no room for all, the least interesting goes first.
        let mut left = area.height.saturating_sub(1 + calls::HEIGHT + log + SENSORS);
        let mut fits = |wanted: u16| {
            let given = if wanted <= left { wanted } else { 0 };
            left -= given;
            given
        };
        let (tree_height, connect_height) = (fits(height(&tree)), fits(height(&connect)));
        let sensors_height = sensors::height(self.view.sensors.len()).min(SENSORS + left);
        let [title, calls, sensors, traces, connects, _, logs] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(calls::HEIGHT),
            Constraint::Length(sensors_height),
            Constraint::Length(tree_height),
            Constraint::Length(connect_height),
            Constraint::Min(0),
            Constraint::Length(log),
        ])
        .areas(area);
        self.title(frame, title);
        frame.render_widget(calls::table(self.view, &self.rates, area.width), calls);
        frame.render_widget(sensors::table(&self.view.sensors, sensors), sensors);
        frame.render_widget(section(" latest trace ", tree), traces);
        frame.render_widget(section(" call it yourself ", connect), connects);
        frame.render_widget(Line::from(printable(self.log)).yellow(), logs);
    }

    fn title(&self, frame: &mut Frame, area: Rect) {
        let alerts = self.view.alerts();
        let line = Line::from(vec![
            " Kelvin ".reversed().bold(),
            Span::raw(format!(" {} s  ", self.view.elapsed.as_secs())),
            Span::raw(format!("{}, {:.1}/s  ", pluralize(self.view.stored(), "reading"), self.rates[4])),
            warn(pluralize(alerts, "alert") + "  ", alerts > 0),
            Span::raw(format!("https://{} ", self.address)).dim(),
        ]);
        let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(7)]).areas(area);
        frame.render_widget(line, left);
        frame.render_widget(Line::from("q quits").dim(), right);
    }
}

/// Red where something is wrong.
pub(super) fn warn(text: String, wrong: bool) -> Span<'static> {
    if wrong { Span::from(text).red().bold() } else { Span::from(text) }
}

/// A rule with a title over what it is about.
pub(super) fn rule(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(title.bold())
}

fn section<'a>(title: &'a str, lines: Vec<Line<'a>>) -> Paragraph<'a> {
    Paragraph::new(Text::from(lines)).block(rule(title))
}

/// The widths of the columns, none for one that does not fit. Numbers, which are on the right, get the room of the
/// longest, so that none loses its first digits; the first column gets up to `name` where it needs that, and gives way
/// to the others.
pub(super) fn widths(columns: &[Column], rows: &[Vec<Text>], width: u16, name: u16) -> Vec<Option<u16>> {
    let longest = |at: usize| {
        let longest = rows.iter().filter_map(|cells| cells.get(at)).map(Text::width).max().unwrap_or(0);
        u16::try_from(longest).unwrap_or(u16::MAX)
    };
    let needed = |(at, column): (usize, &Column)| {
        let needed = match (at, column.right) {
            (_, true) => longest(at),
            (0, _) => longest(at).min(name),
            _ => 0,
        };
        (width >= column.from).then_some(column.width.max(needed))
    };
    let mut widths: Vec<_> = columns.iter().enumerate().map(needed).collect();
    let Some((Some(first), others)) = widths.split_first_mut() else { return widths };
    // The first column keeps at least one, and each other has a space before it.
    let mut left = width.saturating_sub(1);
    for other in others {
        match other.and_then(|width| left.checked_sub(width)?.checked_sub(1)) {
            Some(rest) => left = rest,
            None => *other = None,
        }
    }
    *first = (*first).min(left + 1);
    widths
}

/// A table with the columns that have a width; one of 0 takes what is left.
pub(super) fn table<'a>(
    title: &'a str,
    columns: &[Column],
    rows: Vec<Vec<Text<'a>>>,
    widths: &[Option<u16>],
) -> Table<'a> {
    let pick = |cells: Vec<Text<'a>>| {
        let height = cells.iter().map(Text::height).max().unwrap_or(1).max(1);
        let cells = columns.iter().zip(widths).zip(cells).filter(|((_, width), _)| width.is_some());
        let cells = cells.map(|((column, _), cell)| if column.right { cell.right_aligned() } else { cell });
        Row::new(cells).height(u16::try_from(height).unwrap_or(u16::MAX))
    };
    let header = pick(columns.iter().map(|column| Text::raw(column.title)).collect());
    let constraints = widths.iter().flatten().map(|width| match width {
        0 => Constraint::Min(0),
        width => Constraint::Length(*width),
    });
    Table::new(rows.into_iter().map(pick).collect::<Vec<_>>(), constraints)
        .header(header.style(Style::new().add_modifier(Modifier::DIM)))
        .block(rule(title))
}

/// Text from outside without what would move the cursor, or turn the line around it: control characters and those that
/// set the direction of text.
pub(super) fn printable(text: &str) -> String {
    let moves = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if moves(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::SpanProcessor as _;
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::demo::{record::Recorder, sensors::Sensor, trace::tests::span};

    /// What a terminal of this size shows after one call that crossed the wire.
    fn screen(width: u16, height: u16) -> String {
        let sensor = |number| Sensor {
            id: format!("unary-{number}"),
            count: 42,
            last: 21.5,
            mean: 20.25,
            alerts: 3,
            alerting: true,
            heard: Instant::now(),
            history: [20.0, 21.5].into(),
        };
        draw(width, height, (1..=20).map(sensor).collect())
    }

    /// The same with other sensors.
    fn draw(width: u16, height: u16, sensors: Vec<Sensor>) -> String {
        let recorder = Recorder::default();
        recorder.on_end(span("Recv.SensorService.SendSingleReading", SpanKind::Server, 2, 1, (2, 8)));
        recorder.on_end(span("Sent.SensorService.SendSingleReading", SpanKind::Client, 1, 0, (0, 10)));
        let view = View {
            elapsed: Duration::from_secs(12),
            calls: recorder.calls(),
            sensors,
            trace: recorder.latest(),
        };
        let picture = Picture {
            address: ([127, 0, 0, 1], 50051).into(),
            rates: [1.5, 0.0, 0.0, 0.0, 16.8],
            trace: view.trace.as_ref(),
            grpcurl: &[
                "grpcurl",
                "-cacert /tmp/kelvin-1234/ca.crt",
                "-H \"authorization: t\"",
                "127.0.0.1:50051 list",
            ]
            .map(String::from),
            log: "WARN something",
            view: &view,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| picture.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn all_is_there_at_80_by_24() {
        let screen = screen(80, 24);
        for text in [
            "12 s",
            "840 readings, 16.8/s",
            "60 alerts",
            "unary                    1      1.5",
            "10.0",
            "!unary-1             alert          21.50      3   20.0 ▁█ 21.5",
            "more",
            "Sent.SensorService.SendSingleReading   client  10.00 ms ━",
            "└ Recv.SensorService.SendSingleReading server   6.00 ms      ━━━",
            "grpcurl -cacert /tmp/kelvin-1234/ca.crt -H \"authorization: t\" \\",
            "  127.0.0.1:50051 list",
            "WARN something",
        ] {
            assert!(screen.contains(text), "{text:?} in\n{screen}");
        }
    }

    #[test]
    fn narrow_and_low_screens_show_what_matters_most() {
        let narrow = screen(40, 24);
        for text in ["unary                    1       0", "!unary-1                21.50      3", "and 1"] {
            assert!(narrow.contains(text), "{text:?} in\n{narrow}");
        }
        let low = screen(80, 11);
        assert!(low.contains("bidi-streaming") && low.contains("and 20 more"), "{low}");
        assert!(!low.contains("latest trace"), "{low}");
    }

    /// A sensor that nobody has heard of for 42 s, one in alert and one that is well.
    fn three() -> Vec<Sensor> {
        let heard = Instant::now();
        let sensor = |id: &str, history: &[f64]| Sensor {
            id: id.to_owned(),
            count: 42,
            last: 21.5,
            mean: 20.25,
            alerts: 0,
            alerting: false,
            heard,
            history: history.iter().copied().collect(),
        };
        let silent = heard.checked_sub(Duration::from_secs(42)).unwrap();
        vec![
            Sensor { heard: silent, ..sensor("attic", &[18.0, 21.5]) },
            Sensor { alerting: true, alerts: 1, ..sensor("boiler", &[60.0, 91.25]) },
            sensor("cellar", &[]),
        ]
    }

    #[test]
    fn silent_and_alerting_sensors_are_marked() {
        let screen = draw(80, 24, three());
        for text in [
            "?attic               silent 42 s",
            "!boiler              alert",
            " cellar                         ",
        ] {
            assert!(screen.contains(text), "{text:?} in\n{screen}");
        }
        let narrow = draw(40, 24, three());
        assert!(narrow.contains("?attic") && narrow.contains("!boiler"), "{narrow}");
    }

    #[test]
    fn charts_use_the_height_and_carry_their_scale() {
        let screen = draw(120, 40, three());
        let lines: Vec<_> =
            screen.lines().filter(|line| line.contains("91.2") || line.contains("60.0")).collect();
        assert_eq!(lines.len(), 2, "{screen}");
        let [top, bottom] = ["91.2", "60.0"].map(|scale| {
            screen.lines().position(|line| {
                line.ends_with(&format!(" {scale}\"")) || line.contains(&format!(" {scale} "))
            })
        });
        assert_eq!(bottom.zip(top).map(|(bottom, top)| bottom - top), Some(5), "{screen}");
    }

    #[test]
    fn long_numbers_keep_their_first_digits() {
        let sensor = Sensor { last: -1_234_567.89, count: 12_345_678_901, ..three().remove(2) };
        let screen = draw(120, 24, vec![sensor]);
        assert!(screen.contains("-1234567.89") && screen.contains("12345678901"), "{screen}");
    }

    #[test]
    fn numbers_are_whole_or_absent_at_every_width() {
        let sensor = Sensor {
            last: -1_234_567.89,
            mean: 2_345_678.91,
            count: 12_345_678_901,
            alerts: 34_567,
            ..three().remove(2)
        };
        let calls = ["1", "1.5", "10.002", "10.002", "0"];
        let sensors = ["-1234567.89", "2345678.91", "12345678901", "34567"];
        for width in 1..=200 {
            // The machine may take seconds for all widths, after which a sensor is silent.
            let sensor = Sensor { heard: Instant::now(), ..sensor.clone() };
            let screen = draw(width, 11, vec![sensor]);
            let shown = |row| {
                let line = screen.lines().nth(row).unwrap().trim_matches('"');
                line.split_whitespace().filter(|word| word.parse::<f64>().is_ok()).collect::<Vec<_>>()
            };
            for (row, whole) in [(3, &calls[..]), (9, &sensors[..])] {
                let shown = shown(row);
                assert!(shown.iter().all(|number| whole.contains(number)), "at {width}:\n{screen}");
                assert_eq!(!shown.is_empty(), usize::from(width) >= whole[0].len().max(9) + 2, "{screen}");
                assert!(width < 100 || shown == whole, "at {width}:\n{screen}");
            }
        }
    }

    #[test]
    fn control_and_bidirectional_characters_are_replaced() {
        let sensor = Sensor { id: "a\u{1b}[2J\u{202e}b\nc\u{200b}".to_owned(), ..three().remove(2) };
        let screen = draw(80, 24, vec![sensor]);
        assert!(screen.contains(" a�[2J�b�c�"), "{screen}");
        assert_eq!(printable("Keller-Süd 北 🌡"), "Keller-Süd 北 🌡");
    }

    #[test]
    fn no_size_is_too_small_or_too_large() {
        for (width, height) in [(1, 1), (3, 200), (300, 2), (20, 6), (45, 9), (300, 100)] {
            screen(width, height);
        }
    }
}
