//! Rounds of both servers, one right after the other, and their medians.

use std::{error::Error, process, sync::Arc, time::Duration};

use kelvin_credentials::{ClientFiles, ClientTls};
use kelvin_load::{Options, Target, Tls};
use kelvin_proto::CallType;
use serde::Serialize;

use crate::{
    cases::Case,
    files::{Files, TOKEN},
    machine,
    peer::{Peer, Running},
    sink,
};

/// One run of one server.
#[derive(Debug, Clone, Copy)]
struct Sample {
    rate: f64,
    /// How busy the load was, of its one core.
    load: f64,
    /// How busy the server was, of its one core.
    server: f64,
    failures: u64,
}

/// What came of a [`Case`].
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub name: &'static str,
    /// Medians; calls a second for unary, readings a second for the others.
    pub kelvin: f64,
    pub bare: f64,
    /// The median of the ratios of the rounds.
    pub ratio: f64,
    pub goal: f64,
    /// The least and the greatest ratio of a round.
    pub range: (f64, f64),
    /// The median of the ratios by second of the servers' processor time: what other work on the machine takes does
    /// not count, nor does a load that cannot keep up.
    pub ratio_by_processor: f64,
    /// How busy the server's core and the load's core were while Kelvin and the bare service served; medians.
    pub kelvin_busy: (f64, f64),
    pub bare_busy: (f64, f64),
    /// Calls that failed, Kelvin's and the bare service's.
    pub failures: (u64, u64),
}

impl Comparison {
    pub(crate) fn reached(&self) -> bool {
        self.ratio >= self.goal && self.failures.0 == 0
    }
}

pub(crate) struct Bench {
    files: Files,
    tls: Arc<ClientTls>,
    telemetry: String,
    server_core: core_affinity::CoreId,
    pub rounds: usize,
    pub warm_up: Duration,
    pub duration: Duration,
}

impl Bench {
    /// Settles this process on the load's core.
    pub(crate) fn new(rounds: usize, warm_up: Duration, duration: Duration) -> Result<Self, Box<dyn Error>> {
        let (server_core, load_core) = machine::two_cores()?;
        machine::pin(load_core)?;
        let files = Files::make()?;
        let tls = ClientTls::load(ClientFiles { ca: Some(files.path("ca.crt")), ..ClientFiles::default() })?;
        let telemetry = format!("http://{}", sink::start()?);
        Ok(Self { files, tls, telemetry, server_core, rounds, warm_up, duration })
    }

    pub(crate) fn compare(
        &self,
        case: &Case,
        mut told: impl FnMut(&str),
    ) -> Result<Comparison, Box<dyn Error>> {
        let (mut kelvin, mut bare) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            let mut order = Peer::BOTH;
            if round % 2 == 1 {
                order.reverse();
            }
            for peer in order {
                let sample = self.measure(case, peer)?;
                told(&format!(
                    "{} {}/{} {peer:?}: {:.0}/s (server {:.0} %, load {:.0} %)",
                    case.name,
                    round + 1,
                    self.rounds,
                    sample.rate,
                    sample.server * 100.0,
                    sample.load * 100.0,
                ));
                if peer == Peer::Kelvin { &mut kelvin } else { &mut bare }.push(sample);
            }
        }
        let ratios = |of: fn(&Sample) -> f64| -> Vec<_> {
            kelvin.iter().zip(&bare).map(|(kelvin, bare)| of(kelvin) / of(bare)).collect()
        };
        let by_processor = ratios(|sample| sample.rate / sample.server);
        let ratios = ratios(|sample| sample.rate);
        let of = |samples: &[Sample], pick: fn(&Sample) -> f64| median(samples.iter().map(pick));
        let busy =
            |samples: &[Sample]| (of(samples, |sample| sample.server), of(samples, |sample| sample.load));
        let failures = |samples: &[Sample]| samples.iter().map(|sample| sample.failures).sum();
        Ok(Comparison {
            name: case.name,
            kelvin: of(&kelvin, |sample| sample.rate),
            bare: of(&bare, |sample| sample.rate),
            ratio: median(ratios.iter().copied()),
            goal: case.goal,
            range: (
                ratios.iter().copied().fold(f64::INFINITY, f64::min),
                ratios.iter().copied().fold(0.0, f64::max),
            ),
            ratio_by_processor: median(by_processor.into_iter()),
            kelvin_busy: busy(&kelvin),
            bare_busy: busy(&bare),
            failures: (failures(&kelvin), failures(&bare)),
        })
    }

    fn measure(&self, case: &Case, peer: Peer) -> Result<Sample, Box<dyn Error>> {
        let server = Running::start(peer, self.server_core, &self.files, &self.telemetry)?;
        let mut options = Options::new(self.target(&server)?, vec![CallType::Unary]);
        (options.warm_up, options.duration) = (self.warm_up, self.duration);
        case.shape(&mut options);

        // Processor time from the end of the warm-up to the last look during the measurement.
        let look = || Some((server.cpu_time()?, machine::cpu_time(process::id())?));
        let (mut first, mut last) = (None, None);
        let report = kelvin_load::run(&options, |progress| {
            let seen = look().map(|times| (times, std::time::Instant::now()));
            *if progress.warm_up { &mut first } else { &mut last } = seen;
        })?;
        let (server_busy, load_busy) = match (first, last) {
            (Some(((server, load), start)), Some(((server_end, load_end), end))) => {
                let wall = (end - start).as_secs_f64();
                ((server_end - server) / wall, (load_end - load) / wall)
            }
            _ => (f64::NAN, f64::NAN),
        };
        let figures = report.rpc.get(case.kind.key()).ok_or("no call ended")?;
        Ok(Sample {
            rate: case.rate(figures),
            load: load_busy,
            server: server_busy,
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

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians() {
        for (values, middle) in
            [(vec![3.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 3.0], 2.5), (vec![7.0], 7.0)]
        {
            assert!((median(values.into_iter()) - middle).abs() < f64::EPSILON);
        }
    }
}
