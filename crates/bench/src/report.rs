use std::fmt::{self, Display};

use crate::compare::{Comparison, Goal, Verdict};

/// All peers side by side, as text.
pub(crate) struct Table<'a>(pub &'a [Comparison]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<19} {:<8} {:>9} {:>20} {:>12} {:>8} {:>8} {:>7} {:>6} {:>8}",
            "", "", "CPU µs/op", "ratio to Kelvin", "op/s", "p50 ms", "p99 ms", "server", "load", "MiB"
        )?;
        for comparison in self.0 {
            let (measured, not_measured): (Vec<_>, Vec<_>) =
                comparison.goals.iter().partition(|goal| goal.verdict != Verdict::NotMeasured);
            for (name, sample) in &comparison.peers {
                let ratio =
                    comparison.ratios.get(name).map_or_else(String::new, |(median, least, greatest)| {
                        format!("{median:.2} ({least:.2}-{greatest:.2})")
                    });
                let percent = |share: f64| format!("{:.0} %", share * 100.0);
                write!(
                    f,
                    "{:<19} {name:<8} {:>9.3} {ratio:>20} {:>12.0} {:>8.3} {:>8.3} {:>7} {:>6} {:>8.1}",
                    comparison.name,
                    sample.cpu_us,
                    sample.rate,
                    sample.p50_ms,
                    sample.p99_ms,
                    percent(sample.server_busy),
                    percent(sample.load_busy),
                    sample.resident_mib,
                )?;
                if sample.failures > 0 {
                    write!(f, "  {} failed calls", sample.failures)?;
                }
                if let Some(goal) = measured.iter().find(|goal| goal.peer == *name) {
                    write!(f, "  goal {} {}", goal.bound, goal.verdict)?;
                }
                writeln!(f)?;
            }
            for Goal { peer, bound, verdict } in not_measured {
                writeln!(f, "{:<19} {peer:<8} {verdict}, goal {bound}", comparison.name)?;
            }
        }
        Ok(())
    }
}
