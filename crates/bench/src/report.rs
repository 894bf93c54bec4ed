use std::fmt::{self, Display};

use crate::compare::Comparison;

/// Both servers side by side, as text.
pub(crate) struct Table<'a>(pub &'a [Comparison]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<19} {:>12} {:>12} {:>6} {:>13} {:>5}  {:>20}  {:>20}",
            "per second",
            "Kelvin",
            "bare tonic",
            "ratio",
            "(of rounds)",
            "goal",
            "Kelvin: server, load",
            "bare: server, load"
        )?;
        for row in self.0 {
            let busy = |(server, load): (f64, f64)| format!("{:.0} % {:.0} %", server * 100.0, load * 100.0);
            writeln!(
                f,
                "{:<19} {:>12.0} {:>12.0} {:>6.2} {:>13} {:>5.1}  {:>20}  {:>20}{}",
                row.name,
                row.kelvin,
                row.bare,
                row.ratio,
                format!("{:.2} to {:.2}", row.range.0, row.range.1),
                row.goal,
                busy(row.kelvin_busy),
                busy(row.bare_busy),
                if row.reached() { "" } else { "  not reached" },
            )?;
            if row.failures != (0, 0) {
                writeln!(f, "{:<19} {} failed calls, bare {}", "", row.failures.0, row.failures.1)?;
            }
        }
        Ok(())
    }
}
