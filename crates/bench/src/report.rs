use std::fmt::{self, Display};

use crate::compare::Comparison;

/// Both servers side by side, as text.
pub(crate) struct Table<'a>(pub &'a [Comparison]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            ["Kelvin", "bare tonic", "ratio", "(of rounds)", "per CPU", "goal", "server busy", "load busy"];
        let [kelvin, bare, ratio, rounds, cpu, goal, server, load] = names;
        writeln!(
            f,
            "{:<19} {kelvin:>12} {bare:>12} {ratio:>6} {rounds:>13} {cpu:>8} {goal:>5} {server:>14} {load:>14}",
            "per second"
        )?;
        for row in self.0 {
            let rounds = format!("{:.2} to {:.2}", row.range.0, row.range.1);
            let busy = |kelvin: f64, bare: f64| format!("{:.0} %, {:.0} %", kelvin * 100.0, bare * 100.0);
            let server = busy(row.kelvin_busy.0, row.bare_busy.0);
            let load = busy(row.kelvin_busy.1, row.bare_busy.1);
            let Comparison { name, kelvin, bare, ratio, ratio_by_processor, goal, .. } = row;
            let verdict = if row.reached() { "" } else { "  not reached" };
            writeln!(
                f,
                "{name:<19} {kelvin:>12.0} {bare:>12.0} {ratio:>6.2} {rounds:>13} {ratio_by_processor:>8.2} {goal:>5.1} \
                 {server:>14} {load:>14}{verdict}",
            )?;
            if row.failures != (0, 0) {
                writeln!(f, "{:<19} {} failed calls, bare {}", "", row.failures.0, row.failures.1)?;
            }
        }
        Ok(())
    }
}
