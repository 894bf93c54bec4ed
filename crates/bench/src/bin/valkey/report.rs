use std::fmt::{self, Display};

use crate::grpc::Measured;

/// The figures of one Valkey, printed as they come.
pub(crate) struct Table {
    /// Whether every goal has been reached so far.
    pub(crate) reached: bool,
}

/// A figure, what it should be, and what it cost.
pub(crate) struct Row {
    name: String,
    value: Option<f64>,
    digits: usize,
    goal: Option<Goal>,
    /// Processor seconds a million readings of server, Valkey and load.
    cost: Option<[f64; 3]>,
}

enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    fn new(name: impl Into<String>, value: f64, digits: usize) -> Self {
        Self { name: name.into(), value: Some(value), digits, goal: None, cost: None }
    }

    /// Readings a second.
    pub(crate) fn rate(name: &str, measured: &Measured) -> Self {
        Self { cost: Some(measured.cost), ..Self::new(name, measured.rate, 0) }
    }

    pub(crate) fn plain(name: &str, rate: f64) -> Self {
        Self::new(name, rate, 0)
    }

    pub(crate) fn ratio(name: String, rate: f64, other: f64) -> Self {
        Self::new(name, rate / other, 2)
    }

    pub(crate) fn bytes(name: &str, bytes: f64) -> Self {
        Self::new(name, bytes, 1)
    }

    pub(crate) fn millis(name: &str, millis: f64) -> Self {
        Self::new(name, millis, 1)
    }

    pub(crate) fn left_out(name: &str) -> Self {
        Self { name: format!("LEFT OUT: {name}"), value: None, digits: 0, goal: None, cost: None }
    }

    pub(crate) fn at_least(self, goal: f64) -> Self {
        Self { goal: self.value.map(|_| Goal::AtLeast(goal)), ..self }
    }

    pub(crate) fn at_most(self, goal: f64) -> Self {
        Self { goal: self.value.map(|_| Goal::AtMost(goal)), ..self }
    }

    fn reached(&self) -> bool {
        match (&self.goal, self.value) {
            (Some(Goal::AtLeast(goal)), Some(value)) => value >= *goal,
            (Some(Goal::AtMost(goal)), Some(value)) => value <= *goal,
            _ => true,
        }
    }
}

impl Table {
    pub(crate) fn begin(name: &str) -> Self {
        let [cost, server, valkey, load] = ["CPU s/million:", "server", "Valkey", "load"];
        println!("{name:<64} {:>10} {:>12} {cost:>17} {server:>7} {valkey:>7} {load:>7}", "", "goal");
        Self { reached: true }
    }

    pub(crate) fn push(&mut self, row: &Row) {
        println!("{row}");
        self.reached &= row.reached();
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits;
        let value = self.value.map(|value| format!("{value:.digits$}")).unwrap_or_default();
        let goal = match self.goal {
            Some(Goal::AtLeast(goal)) => format!("≥ {goal}"),
            Some(Goal::AtMost(goal)) => format!("≤ {goal}"),
            None => String::new(),
        };
        write!(f, "  {:<62} {value:>10} {goal:>12}", self.name)?;
        if let Some([server, valkey, load]) = self.cost {
            write!(f, " {:>17} {server:>7.3} {valkey:>7.3} {load:>7.3}", "")?;
        }
        f.write_str(if self.reached() { "" } else { "  not reached" })
    }
}
