use std::{fmt, num::NonZeroU64, time::Duration};

/// The maximum number of windows in an [`Aggregate`], equal to the number of points that Prometheus allows in a series.
pub const MAX_WINDOWS: usize = 11_000;

/// One measurement, without its sensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Degrees Celsius.
    pub temperature: f64,
    /// Unix seconds, as the sensor says.
    pub timestamp: i64,
}

/// The bounds of a store.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Maximum number of readings per sensor; beyond it, the oldest are evicted.
    pub readings_per_sensor: usize,
    /// Sensors held; readings of further ones are rejected.
    pub sensors: usize,
    /// Readings held in all; a sensor's own oldest go first, and a sensor that holds none is rejected.
    pub readings: usize,
    /// Bytes that the memory store allocates for sensors and their readings, about; the oldest block of readings of the
    /// sensor that writes goes first, and new sensors are rejected. Without effect on a shared store.
    pub memory: usize,
    /// The time without readings after which a sensor expires.
    pub idle: Duration,
    /// The number of newest readings that [`Stats::recent_mean`] is the mean of.
    pub recent_window: usize,
}

/// The conditions for alerts.
#[derive(Debug, Clone, Copy)]
pub struct AlertSettings {
    /// Alert at or below this temperature in degrees Celsius.
    pub low: Option<f64>,
    /// Alert at or above this temperature in degrees Celsius.
    pub high: Option<f64>,
    /// Alert when the robust z-score against the sensor's recent history reaches this; `None` switches it off.
    pub z_score: Option<f64>,
}

/// The outcome of one reading.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is stored, and perhaps an alert began or ended with it.
    Stored(Option<Alert>),
    /// It is not stored, and will not be if it is sent again now.
    Rejected(RejectReason),
}

/// The reason why a valid reading was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The limit for sensors is reached.
    TooManySensors,
    /// The limit for readings or memory is reached, and the sensor has none that could be evicted.
    Full,
}

/// A sensor went from normal to alert, or back.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// True when the alert begins, false when it ends.
    pub began: bool,
    /// The limit that was crossed.
    pub kind: AlertKind,
    /// The reading that crossed it, in degrees Celsius.
    pub temperature: f64,
}

/// The limit that an [`Alert`] crossed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AlertKind {
    /// The low limit, in degrees Celsius.
    Low(f64),
    /// The high limit, in degrees Celsius.
    High(f64),
    /// The reading stands out from the sensor's recent history.
    Outlier {
        /// The robust z-score of the reading.
        z_score: f64,
        /// The median of the recent history, in degrees Celsius.
        median: f64,
        /// The median absolute deviation of the recent history, in degrees Celsius.
        mad: f64,
    },
}

/// The outcome of a batch. Readings that are in neither list are stored and changed no alert.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// The number of stored readings.
    pub stored: usize,
    /// The number of older readings that were evicted.
    pub evicted: usize,
    /// The readings that were not stored, by index in the batch, ascending.
    pub rejected: Vec<(usize, RejectReason)>,
    /// The readings that began or ended an alert, by index in the batch, ascending.
    pub alerts: Vec<(usize, Alert)>,
}

/// Selects readings of a sensor.
#[derive(Debug, Default, Clone)]
pub struct Query {
    /// Only timestamps at or after this (Unix seconds).
    pub since: Option<i64>,
    /// Only timestamps before this (Unix seconds).
    pub until: Option<i64>,
    /// Only this many of the newest of those, oldest first.
    pub limit: Option<u64>,
    /// Then wait for new ones; `limit` does not count them.
    pub follow: bool,
}

/// Selects the readings of a sensor to aggregate, and the length of the windows.
#[derive(Debug, Clone)]
pub struct AggregateQuery {
    /// Only timestamps at or after this (Unix seconds).
    pub since: Option<i64>,
    /// Only timestamps before this (Unix seconds).
    pub until: Option<i64>,
    /// The length of a window in seconds.
    pub step: NonZeroU64,
}

/// Readings of a sensor by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// One for each window that has readings, in order of time.
    pub windows: Vec<Window>,
    /// Readings of the sensor that had been evicted and are missing here if they lay in the range.
    pub evicted: u64,
}

/// The readings whose timestamps lie in one window. Temperatures are in degrees Celsius.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Unix seconds, a multiple of the step; `i64::MIN` for the window that begins before it.
    pub start: i64,
    /// The number of readings, at least one.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Standard deviation of the population.
    pub standard_deviation: f64,
}

/// Statistics of one sensor since it was first seen. Temperatures are in degrees Celsius.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Readings since the sensor was first seen.
    pub count: u64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Lowest.
    pub min: f64,
    /// Highest.
    pub max: f64,
    /// Standard deviation of the population.
    pub standard_deviation: f64,
    /// The reading that arrived last.
    pub last: Reading,
    /// The time since it arrived.
    pub idle: Duration,
    /// Mean of the newest [`Limits::recent_window`] readings.
    pub recent_mean: f64,
    /// Number of readings that `recent_mean` averages.
    pub recent_count: u32,
    /// Readings that can be read back.
    pub held: u64,
    /// Alerts begun since the sensor was first seen.
    pub alerts: u64,
    /// The sensor is in alert: an alert has begun, and no later reading has ended it yet.
    pub alerting: bool,
}

/// A page of [`Stats`].
#[derive(Debug, Default, Clone)]
pub struct Page {
    /// Sensors with their statistics.
    pub sensors: Vec<(String, Stats)>,
    /// Opaque; asks for the next page. `None` on the last.
    pub next: Option<String>,
}

/// The reason why an operation of a store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached or does not answer in time; whether a write happened is unknown.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The page token is not one of ours.
    #[error("the page token is not valid")]
    PageToken,
    /// There are more than [`MAX_WINDOWS`] windows in the range, or to answer with.
    #[error(
        "the range, or the readings in it, need more than {MAX_WINDOWS} windows; ask for a longer step or a shorter range"
    )]
    TooManyWindows,
    /// The settings cannot work; the text says which and what to do.
    #[error("{0}")]
    Settings(String),
}

impl Report {
    /// Clears it and keeps its allocations.
    pub fn clear(&mut self) {
        self.stored = 0;
        self.evicted = 0;
        self.rejected.clear();
        self.alerts.clear();
    }

    /// Returns the outcome of the reading at `index`. Cheap when called in ascending order and with few events.
    #[must_use]
    pub fn outcome(&self, index: usize) -> Outcome {
        if let Ok(at) = self.rejected.binary_search_by_key(&index, |(at, _)| *at) {
            return Outcome::Rejected(self.rejected[at].1);
        }
        let alert = self.alerts.binary_search_by_key(&index, |(at, _)| *at);
        Outcome::Stored(alert.ok().map(|at| self.alerts[at].1.clone()))
    }
}

impl AlertKind {
    /// The values of the metric attribute, in the order of the variants. These carry data, so there is no `ALL`.
    pub const VALUES: [&str; 3] = ["low", "high", "outlier"];

    /// Returns the value of a metric attribute.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        let [low, high, outlier] = Self::VALUES;
        match self {
            Self::Low(_) => low,
            Self::High(_) => high,
            Self::Outlier { .. } => outlier,
        }
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { began, kind, temperature } = self;
        match (kind, began) {
            (AlertKind::Low(limit), true) => {
                write!(f, "{temperature:.2} °C is at or below the low limit of {limit:.2} °C")
            }
            (AlertKind::High(limit), true) => {
                write!(f, "{temperature:.2} °C is at or above the high limit of {limit:.2} °C")
            }
            (AlertKind::Low(limit), false) => {
                write!(f, "{temperature:.2} °C is above the low limit of {limit:.2} °C again")
            }
            (AlertKind::High(limit), false) => {
                write!(f, "{temperature:.2} °C is below the high limit of {limit:.2} °C again")
            }
            (AlertKind::Outlier { z_score, median, mad }, true) => {
                write!(
                    f,
                    "{temperature:.2} °C is an outlier: robust z-score {z_score:.1}, median {median:.2} °C, MAD {mad:.2} °C"
                )
            }
            (AlertKind::Outlier { z_score, median, mad }, false) => {
                write!(
                    f,
                    "{temperature:.2} °C is back to normal: robust z-score {z_score:.1}, median {median:.2} °C, MAD {mad:.2} °C"
                )
            }
        }
    }
}

impl RejectReason {
    /// All reasons.
    pub const ALL: [Self; 2] = [Self::TooManySensors, Self::Full];

    /// Returns the value of a metric attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooManySensors => "too_many_sensors",
            Self::Full => "store_full",
        }
    }
}
