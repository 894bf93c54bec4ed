//! Simulated sensors: a daily curve, noise, and rare spikes. Equal seeds give equal readings.

use std::f64::consts::TAU;

use fastrand::Rng;
use kelvin_proto::SensorReading;

const SECONDS_PER_DAY: f64 = 86_400.0;
/// Standard deviation of the noise, in degrees Celsius: that of a cheap digital sensor.
const NOISE: f64 = 0.15;
/// One in this many readings is a spike.
const SPIKE_EVERY: u32 = 500;

/// The sensors of one client.
#[derive(Debug)]
pub(crate) struct Simulation {
    rng: Rng,
    sensors: Vec<Sensor>,
}

#[derive(Debug)]
struct Sensor {
    id: String,
    /// The day's mean, in degrees Celsius.
    mean: f64,
    /// From the day's mean to its highest, in degrees Celsius.
    swing: f64,
    /// The warmest second of the day (UTC).
    peak: f64,
}

impl Simulation {
    pub(crate) fn new(seed: u64, ids: impl IntoIterator<Item = String>) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut between = |low: f64, high: f64| low + (high - low) * rng.f64();
        let sensors = ids
            .into_iter()
            .map(|id| Sensor {
                id,
                mean: between(12.0, 22.0),
                swing: between(2.0, 6.0),
                peak: between(13.0, 16.0) * 3600.0,
            })
            .collect();
        Self { rng, sensors }
    }

    /// Returns a reading of one of the sensors, chosen at random, at `now` (Unix seconds).
    pub(crate) fn sample(&mut self, now: i64) -> SensorReading {
        let Self { rng, sensors } = self;
        let sensor = &sensors[rng.usize(..sensors.len())];
        let of_day = now as f64 - sensor.peak;
        let mut temperature =
            sensor.mean + sensor.swing * (TAU * of_day / SECONDS_PER_DAY).cos() + NOISE * normal(rng);
        if rng.u32(..SPIKE_EVERY) == 0 {
            temperature += if rng.bool() { 25.0 } else { -25.0 };
        }
        // Sensors have a resolution.
        let temperature = (temperature * 100.0).round() / 100.0;
        SensorReading { sensor_id: sensor.id.clone(), temperature, timestamp: now }
    }
}

/// A draw from the standard normal distribution (Box and Muller).
fn normal(rng: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> impl Iterator<Item = String> {
        (1..=3).map(|n| format!("s-{n}"))
    }

    #[test]
    fn equal_seeds_give_equal_readings() {
        let (mut a, mut b) = (Simulation::new(7, ids()), Simulation::new(7, ids()));
        let mut other = Simulation::new(8, ids());
        let readings: Vec<_> = (0..100).map(|now| a.sample(now)).collect();
        assert_eq!(readings, (0..100).map(|now| b.sample(now)).collect::<Vec<_>>());
        assert_ne!(readings, (0..100).map(|now| other.sample(now)).collect::<Vec<_>>());
    }

    #[test]
    fn afternoons_are_warmer_than_nights_and_spikes_are_rare() {
        let mut sensor = Simulation::new(1, ids().take(1));
        let mut mean_at = |hour: i64| {
            let readings: Vec<_> = (0..2000).map(|_| sensor.sample(hour * 3600).temperature).collect();
            let median = {
                let mut sorted = readings.clone();
                sorted.sort_by(f64::total_cmp);
                sorted[sorted.len() / 2]
            };
            let spikes = readings.iter().filter(|t| (*t - median).abs() > 10.0).count();
            assert!((1..20).contains(&spikes), "{spikes} spikes");
            median
        };
        assert!(mean_at(14) > mean_at(2) + 2.0);
    }
}
