use std::net::SocketAddr;

use kelvin_app::pluralize;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Stylize as _,
    text::{Line, Span, Text},
    widgets::Paragraph,
};

use super::{
    calls, command, sensors,
    table::{border, highlight, printable},
    trace,
};
use crate::demo::{snapshot::Snapshot, trace::Trace};

/// What the terminal UI shows.
pub(super) struct Dashboard<'a> {
    pub(super) address: SocketAddr,
    /// Per second: calls by type, then readings.
    pub(super) rates: [f64; 5],
    pub(super) trace: Option<&'a Trace>,
    pub(super) grpcurl: [String; 4],
    /// The last warning.
    pub(super) log: String,
    pub(super) snapshot: &'a Snapshot,
}

/// The lowest section of sensors that is shown: the border, the header and a sensor.
const MIN_SENSORS_HEIGHT: u16 = 3;

impl Dashboard<'_> {
    pub(super) fn draw(&self, frame: &mut Frame) {
        let area = frame.area();
        let command = command::lines(&self.grpcurl, area.width);
        let tree = trace::lines(self.trace, area.width);
        let height = |lines: &[Line]| 1 + u16::try_from(lines.len()).unwrap_or(u16::MAX);
        let log = u16::from(!self.log.is_empty());
        // Where there is no room for all, the least interesting goes first.
        let mut left = area.height.saturating_sub(1 + calls::HEIGHT + log + MIN_SENSORS_HEIGHT);
        let mut fits = |wanted: u16| {
            let given = if wanted <= left { wanted } else { 0 };
            left -= given;
            given
        };
        let (tree_height, command_height) = (fits(height(&tree)), fits(height(&command)));
        let sensors_height = sensors::height(self.snapshot.sensors.len()).min(MIN_SENSORS_HEIGHT + left);
        let [title, calls, sensors, traces, commands, _, logs] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(calls::HEIGHT),
            Constraint::Length(sensors_height),
            Constraint::Length(tree_height),
            Constraint::Length(command_height),
            Constraint::Min(0),
            Constraint::Length(log),
        ])
        .areas(area);
        self.title(frame, title);
        frame.render_widget(calls::table(self.snapshot, &self.rates, area.width), calls);
        frame.render_widget(sensors::table(&self.snapshot.sensors, sensors), sensors);
        frame.render_widget(section(" latest trace ", tree), traces);
        frame.render_widget(section(" call it yourself ", command), commands);
        frame.render_widget(Line::from(printable(&self.log)).yellow(), logs);
    }

    fn title(&self, frame: &mut Frame, area: Rect) {
        let alerts = self.snapshot.alerts();
        let line = Line::from(vec![
            " Kelvin ".reversed().bold(),
            Span::raw(format!(" {} s  ", self.snapshot.elapsed.as_secs())),
            Span::raw(format!("{}, {:.1}/s  ", pluralize(self.snapshot.stored(), "reading"), self.rates[4])),
            highlight(pluralize(alerts, "alert") + "  ", alerts > 0),
            Span::raw(format!("https://{} ", self.address)).dim(),
        ]);
        let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(7)]).areas(area);
        frame.render_widget(line, left);
        frame.render_widget(Line::from("q quits").dim(), right);
    }
}

fn section<'a>(title: &'a str, lines: Vec<Line<'a>>) -> Paragraph<'a> {
    Paragraph::new(Text::from(lines)).block(border(title))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use opentelemetry::trace::SpanKind;
    use opentelemetry_sdk::trace::SpanProcessor as _;
    use ratatui::{Terminal, backend::TestBackend};

    use super::*;
    use crate::demo::{record::Recorder, sensors::Sensor, test_span::span};

    /// What a terminal of this size shows after one call that crossed the wire.
    fn screen(width: u16, height: u16) -> String {
        let sensor = |number| Sensor {
            id: format!("unary-{number}"),
            count: 42,
            last: 21.5,
            mean: 20.25,
            alerts: 3,
            alerting: true,
            last_seen: Instant::now(),
            history: [20.0, 21.5].into(),
        };
        render(width, height, (1..=20).map(sensor).collect())
    }

    /// The same with other sensors.
    fn render(width: u16, height: u16, sensors: Vec<Sensor>) -> String {
        let recorder = Recorder::default();
        recorder.on_end(span("Recv.SensorService.SendSingleReading", SpanKind::Server, 2, 1, (2, 8)));
        recorder.on_end(span("Sent.SensorService.SendSingleReading", SpanKind::Client, 1, 0, (0, 10)));
        let snapshot = Snapshot {
            elapsed: Duration::from_secs(12),
            calls: recorder.calls(),
            sensors,
            trace: recorder.latest(),
        };
        let dashboard = Dashboard {
            address: ([127, 0, 0, 1], 50051).into(),
            rates: [1.5, 0.0, 0.0, 0.0, 16.8],
            trace: snapshot.trace.as_ref(),
            grpcurl: [
                "grpcurl",
                "-cacert /tmp/kelvin-1234/ca.crt",
                "-H \"authorization: t\"",
                "127.0.0.1:50051 list",
            ]
            .map(String::from),
            log: "WARN something".to_owned(),
            snapshot: &snapshot,
        };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| dashboard.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn all_sections_fit_80_by_24() {
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
    fn small_screens_show_most_important_sections() {
        let narrow = screen(40, 24);
        for text in ["unary                    1       0", "!unary-1                21.50      3", "and 1"] {
            assert!(narrow.contains(text), "{text:?} in\n{narrow}");
        }
        let low = screen(80, 11);
        assert!(low.contains("bidi-streaming") && low.contains("and 20 more"), "{low}");
        assert!(!low.contains("latest trace"), "{low}");
    }

    /// A sensor that has been silent for 42 s, one in alert and one that is active.
    fn three_sensors() -> Vec<Sensor> {
        let last_seen = Instant::now();
        let sensor = |id: &str, history: &[f64]| Sensor {
            id: id.to_owned(),
            count: 42,
            last: 21.5,
            mean: 20.25,
            alerts: 0,
            alerting: false,
            last_seen,
            history: history.iter().copied().collect(),
        };
        let long_ago = last_seen.checked_sub(Duration::from_secs(42)).unwrap();
        vec![
            Sensor { last_seen: long_ago, ..sensor("attic", &[18.0, 21.5]) },
            Sensor { alerting: true, alerts: 1, ..sensor("boiler", &[60.0, 91.25]) },
            sensor("cellar", &[]),
        ]
    }

    #[test]
    fn silent_and_alerting_sensors_are_marked() {
        let screen = render(80, 24, three_sensors());
        for text in [
            "?attic               silent 42 s",
            "!boiler              alert",
            " cellar                         ",
        ] {
            assert!(screen.contains(text), "{text:?} in\n{screen}");
        }
        let narrow = render(40, 24, three_sensors());
        assert!(narrow.contains("?attic") && narrow.contains("!boiler"), "{narrow}");
    }

    #[test]
    fn charts_use_the_height_and_carry_their_scale() {
        let screen = render(120, 40, three_sensors());
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
        let sensor = Sensor { last: -1_234_567.89, count: 12_345_678_901, ..three_sensors().remove(2) };
        let screen = render(120, 24, vec![sensor]);
        assert!(screen.contains("-1234567.89") && screen.contains("12345678901"), "{screen}");
    }

    #[test]
    fn numbers_are_whole_or_absent_at_every_width() {
        let sensor = Sensor {
            last: -1_234_567.89,
            mean: 2_345_678.91,
            count: 12_345_678_901,
            alerts: 34_567,
            ..three_sensors().remove(2)
        };
        let calls = ["1", "1.5", "10.002", "10.002", "0"];
        let sensors = ["-1234567.89", "2345678.91", "12345678901", "34567"];
        for width in 1..=200 {
            // The machine may take seconds for all widths, after which a sensor is silent.
            let sensor = Sensor { last_seen: Instant::now(), ..sensor.clone() };
            let screen = render(width, 11, vec![sensor]);
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
        let sensor = Sensor { id: "a\u{1b}[2J\u{202e}b\nc\u{200b}".to_owned(), ..three_sensors().remove(2) };
        let screen = render(80, 24, vec![sensor]);
        assert!(screen.contains(" a�[2J�b�c�"), "{screen}");
        assert_eq!(printable("Keller-Süd 北 🌡"), "Keller-Süd 北 🌡");
    }

    #[test]
    fn screen_fills_any_size() {
        for (width, height) in [(1, 1), (3, 200), (300, 2), (20, 6), (45, 9), (300, 100)] {
            let screen = screen(width, height);
            assert_eq!(screen.lines().count(), usize::from(height), "{screen}");
            let fits = |line: &str| line.trim_matches('"').chars().count() == usize::from(width);
            assert!(screen.lines().all(fits), "{width} by {height}:\n{screen}");
            assert!(width < 20 || screen.contains("Kelvin"), "{screen}");
        }
    }
}
