use kelvin_proto::CallType;
use ratatui::{text::Text, widgets::Table};

use super::table::{self, Column, highlight};
use crate::demo::snapshot::Snapshot;

/// The rule, the header and the four types.
pub(super) const HEIGHT: u16 = 6;

const COLUMNS: [Column; 6] = [
    Column { title: "", width: 16, min_terminal_width: 0, align_right: false },
    Column { title: "calls", width: 9, min_terminal_width: 0, align_right: true },
    Column { title: "per s", width: 8, min_terminal_width: 65, align_right: true },
    Column { title: "p50 ms", width: 10, min_terminal_width: 45, align_right: true },
    Column { title: "p99 ms", width: 10, min_terminal_width: 56, align_right: true },
    Column { title: "errors", width: 7, min_terminal_width: 34, align_right: true },
];

/// What the clients did, by type of call.
pub(super) fn table<'a>(snapshot: &Snapshot, rates: &[f64], width: u16) -> Table<'a> {
    let rows = CallType::ALL.into_iter().zip(&snapshot.calls).zip(rates).map(|((kind, calls), rate)| {
        vec![
            Text::from(kind.name()),
            Text::from(calls.count.to_string()),
            Text::from(format!("{rate:.1}")),
            Text::from(format!("{:.3}", calls.quantile(0.5))),
            Text::from(format!("{:.3}", calls.quantile(0.99))),
            Text::from(highlight(calls.errors.to_string(), calls.errors > 0)),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let widths = table::widths(&COLUMNS, &rows, width, 0);
    table::table(" calls ", &COLUMNS, rows, &widths)
}
