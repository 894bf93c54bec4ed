//! Rounds in which every peer has its turn, and their medians.

use std::{collections::BTreeMap, error::Error, fmt, process, sync::Arc, time::Duration};

use kelvin_bench::files::{Files, TOKEN};
use kelvin_credentials::{ClientFiles, ClientTls};
use kelvin_load::{Options, Progress, Target, Tls};
use kelvin_proto::CallType;
use kelvin_testing::machine;
use serde::Serialize;

use crate::{
    cases::{Bound, Case},
    idle::{self, Idle},
    peer::{Peer, Programs, Running},
    sink,
};

/// A round in which the server was busy for less of its core says nothing about its limit.
const MIN_BUSY: f64 = 0.8;
/// How often such a round is repeated before it is reported as it is.
const REPEATS: usize = 4;

/// One run of one server.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Sample {
    /// Server CPU per operation in microseconds.
    pub cpu_us: f64,
    /// Operations per second.
    pub rate: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Share of its core that the server used.
    pub server_busy: f64,
    /// Share of its core that the load generator used.
    pub load_busy: f64,
    /// Resident memory of the server at the end, in MiB.
    pub resident_mib: f64,
    pub failures: u64,
}

/// What came of a [`Case`].
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub name: &'static str,
    pub goals: Vec<Goal>,
    /// Medians by peer.
    pub peers: BTreeMap<String, Sample>,
    /// Other peers' CPU per operation divided by Kelvin's: median, least and greatest of the rounds.
    pub ratios: BTreeMap<String, (f64, f64, f64)>,
}

/// What Kelvin has to reach against one peer.
#[derive(Debug, Serialize)]
pub(crate) struct Goal {
    pub peer: String,
    pub bound: Bound,
    pub verdict: Verdict,
}

/// What came of a [`Goal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Reached,
    Missed,
    NotMeasured,
}

impl Comparison {
    fn new(case: &Case, samples: &BTreeMap<Peer, Vec<Sample>>) -> Self {
        let peers: BTreeMap<_, _> =
            samples.iter().map(|(peer, samples)| (peer.name(), Sample::median(samples))).collect();
        let ratios: BTreeMap<_, _> = samples
            .iter()
            .filter(|(peer, _)| **peer != Peer::Kelvin)
            .filter_map(|(peer, other)| Some((peer.name(), ratio(samples.get(&Peer::Kelvin)?, other))))
            .collect();
        let failures = peers.get(&Peer::Kelvin.name()).map_or(0, |sample| sample.failures);
        let goals = case.goals.iter().map(|&(peer, goal)| {
            let measured = ratios.get(&peer.name()).map(|(median, ..)| *median);
            Goal { peer: peer.name(), bound: goal, verdict: Verdict::of(measured, goal, failures) }
        });
        Self { name: case.name, goals: goals.collect(), peers, ratios }
    }

    /// Whether all goals are reached; one that is not measured is not.
    pub(crate) fn reached(&self) -> bool {
        self.goals.iter().all(|goal| goal.verdict == Verdict::Reached)
    }
}

impl Verdict {
    fn of(measured: Option<f64>, goal: Bound, failures: u64) -> Self {
        match measured {
            None => Self::NotMeasured,
            Some(ratio) if goal.holds(ratio) && failures == 0 => Self::Reached,
            Some(_) => Self::Missed,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reached => "reached",
            Self::Missed => "MISSED",
            Self::NotMeasured => "NOT MEASURED",
        })
    }
}

pub(crate) struct Bench {
    pub programs: Programs,
    pub peers: Vec<Peer>,
    pub rounds: usize,
    pub duration: Duration,
    files: Files,
    tls: Arc<ClientTls>,
    telemetry: String,
    /// The server's and the load generator's.
    cores: [core_affinity::CoreId; 2],
}

impl Bench {
    /// Pins this process to the load generator's core.
    pub(crate) fn new(
        programs: Programs,
        peers: Vec<Peer>,
        rounds: usize,
        duration: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let (server_core, load_core) = machine::two_cores()?;
        let cores = [server_core, load_core];
        machine::pin(load_core)?;
        let files = Files::make()?;
        let tls = ClientTls::load(ClientFiles { ca: Some(files.path("ca.crt")), ..ClientFiles::default() })?;
        let telemetry = format!("http://{}", sink::start()?);
        Ok(Self { programs, peers, rounds, duration, files, tls, telemetry, cores })
    }

    /// Measures what Kelvin takes while nobody calls.
    pub(crate) fn idle(&self) -> Result<Idle, Box<dyn Error>> {
        let server = Running::start(Peer::Kelvin, &self.programs, self.cores, &self.files, &self.telemetry)?;
        idle::measure(&server, &self.tls.config())
    }

    pub(crate) fn compare(&self, case: &Case) -> Result<Comparison, Box<dyn Error>> {
        let mut order: Vec<_> = self.peers.iter().copied().filter(|peer| case.is_for(*peer)).collect();
        let mut samples = BTreeMap::<Peer, Vec<Sample>>::new();
        for round in 1..=self.rounds {
            for &peer in &order {
                let sample = self.busy_sample(case, peer)?;
                eprintln!(
                    "{} {round}/{} {}: {:.3} µs CPU, {:.0}/s (server {:.0} %, load {:.0} %)",
                    case.name,
                    self.rounds,
                    peer.name(),
                    sample.cpu_us,
                    sample.rate,
                    sample.server_busy * 100.0,
                    sample.load_busy * 100.0,
                );
                samples.entry(peer).or_default().push(sample);
            }
            order.rotate_left(1);
        }
        Ok(Comparison::new(case, &samples))
    }

    /// Repeats a round in which something else kept the server from its core.
    fn busy_sample(&self, case: &Case, peer: Peer) -> Result<Sample, Box<dyn Error>> {
        let mut sample = self.measure(case, peer)?;
        for _ in 0..REPEATS {
            if sample.server_busy >= MIN_BUSY {
                break;
            }
            eprintln!(
                "{} {}: server only {:.0} % busy; repeating the round",
                case.name,
                peer.name(),
                sample.server_busy * 100.0
            );
            sample = self.measure(case, peer)?;
        }
        Ok(sample)
    }

    fn measure(&self, case: &Case, peer: Peer) -> Result<Sample, Box<dyn Error>> {
        let server = Running::start(peer, &self.programs, self.cores, &self.files, &self.telemetry)?;
        let mut options = Options::new(self.target(&server)?, vec![CallType::Unary]);
        options.warm_up = Duration::from_secs(1);
        // The generator reports once a second, the last time before the end.
        options.duration = self.duration + Duration::from_millis(200);
        case.shape(&mut options);

        let look = |progress: &Progress| {
            let operations = case.operations(progress.calls, progress.readings);
            let times = (server.cpu_time()?, machine::cpu_time(process::id())?);
            Some((operations, times, std::time::Instant::now()))
        };
        let (mut first, mut last) = (None, None);
        let report = kelvin_load::run(&options, |progress| {
            if !progress.warm_up {
                let seen = look(progress);
                if first.is_none() { first = seen } else { last = seen }
            }
        })?;
        let (
            Some((operations, (server_cpu, load_cpu), start)),
            Some((operations_end, (server_end, load_end), end)),
        ) = (first, last)
        else {
            return Err(
                "no CPU time was measured: a round must last at least 2 s, and /proc (Linux) is needed"
                    .into(),
            );
        };
        let wall = (end - start).as_secs_f64();
        let operations = operations_end - operations;
        if operations == 0 {
            return Err(format!("{}: {} completed no call", case.name, peer.name()).into());
        }
        let operations = operations as f64;
        let figures = report.rpc.get(case.call_type.key()).ok_or("no call ended")?;
        Ok(Sample {
            cpu_us: (server_end - server_cpu) / operations * 1e6,
            rate: operations / wall,
            p50_ms: figures.p50_ms,
            p99_ms: figures.p99_ms,
            server_busy: (server_end - server_cpu) / wall,
            load_busy: (load_end - load_cpu) / wall,
            resident_mib: server.resident().unwrap_or_default() as f64 / f64::from(1 << 20),
            failures: figures.errors.values().map(|failures| failures.count).sum(),
        })
    }

    fn target(&self, server: &Running) -> Result<Target, Box<dyn Error>> {
        Ok(Target {
            address: server.address.to_string(),
            tls: Some(Tls { config: self.tls.config(), name: "localhost".try_into()? }),
            token: Some(TOKEN.parse()?),
        })
    }
}

impl Sample {
    fn median(samples: &[Self]) -> Self {
        let of = |pick: fn(&Self) -> f64| median(samples.iter().map(pick));
        Self {
            cpu_us: of(|sample| sample.cpu_us),
            rate: of(|sample| sample.rate),
            p50_ms: of(|sample| sample.p50_ms),
            p99_ms: of(|sample| sample.p99_ms),
            server_busy: of(|sample| sample.server_busy),
            load_busy: of(|sample| sample.load_busy),
            resident_mib: of(|sample| sample.resident_mib),
            failures: samples.iter().map(|sample| sample.failures).sum(),
        }
    }
}

/// Median, least and greatest of the rounds' ratios.
fn ratio(kelvin: &[Sample], other: &[Sample]) -> (f64, f64, f64) {
    let ratios: Vec<_> =
        kelvin.iter().zip(other).map(|(kelvin, other)| other.cpu_us / kelvin.cpu_us).collect();
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = ratios.iter().copied().fold(0.0, f64::max);
    (median(ratios.into_iter()), least, greatest)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goal_is_reached_only_when_measured_without_failures() {
        let (least, most) = (Bound::AtLeast(1.1), Bound::AtMost(1.1));
        for (measured, goal, failures, verdict) in [
            (None, least, 0, Verdict::NotMeasured),
            (Some(1.1), least, 0, Verdict::Reached),
            (Some(1.09), least, 0, Verdict::Missed),
            (Some(1.2), least, 1, Verdict::Missed),
            (Some(1.1), most, 0, Verdict::Reached),
            (Some(1.11), most, 0, Verdict::Missed),
        ] {
            assert_eq!(Verdict::of(measured, goal, failures), verdict);
        }
        let case = &crate::cases::CASES[0];
        assert!(!Comparison::new(case, &BTreeMap::new()).reached());
    }

    #[test]
    fn median_of_even_count_is_the_midpoint() {
        for (values, middle) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert!((median(values.into_iter()) - middle).abs() < f64::EPSILON);
        }
    }
}
