use std::time::Duration;

use compact_str::CompactString;

use super::{history::History, quota::Reservation};
use crate::{
    Limits, Reading, Report, Stats,
    detector::{Detector, HISTORY, Rules},
    summary::{Summary, mean},
};

/// One sensor. An append touches the sensor and the end of its history's tail, and once a frame its growing block.
#[derive(Debug)]
pub(super) struct Sensor {
    pub(super) id: CompactString,
    pub(super) history: History,
    pub(super) summary: Summary,
    detector: Detector,
    /// Someone waits for new readings.
    pub(super) followed: bool,
    /// Tells a sensor from an expired one of the same name.
    pub(super) generation: u32,
}

/// Readings of one sensor in a batch, with their places in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) readings: &'a [Reading],
    pub(super) places: &'a [u32],
}

impl Sensor {
    pub(super) fn new(id: &str, generation: u32, followed: bool) -> Self {
        Self {
            id: id.into(),
            history: History::default(),
            summary: Summary::default(),
            detector: Detector::default(),
            followed,
            generation,
        }
    }

    /// The bytes that are allocated for it.
    pub(super) fn bytes(&self) -> usize {
        let id = if self.id.is_heap_allocated() { self.id.capacity() } else { 0 };
        size_of::<Self>() + id + self.history.bytes()
    }

    /// Stores the readings and drops as many of the oldest as the limits ask for. Returns how many it dropped.
    #[inline]
    pub(super) fn append(
        &mut self,
        run: Run<'_>,
        rules: &Rules,
        limits: &Limits,
        room: &mut Reservation<'_>,
        report: &mut Report,
    ) -> usize {
        let count = run.readings.len();
        let growth = room.take(count.min(limits.readings_per_sensor.saturating_sub(self.history.len())));
        match run.readings {
            [reading] if self.append_unremarkable(reading, rules) => {}
            _ => self.append_run(run, rules, report),
        }
        let evicted = count - growth;
        if evicted > 0 {
            self.history.evict(evicted);
        }
        evicted
    }

    #[inline(never)]
    fn append_run(&mut self, run: Run<'_>, rules: &Rules, report: &mut Report) {
        let mut done = 0;
        while done < run.readings.len() {
            let end = run.readings.len().min(done + self.detector.until_refresh());
            let part = &run.readings[done..end];
            let summary = Summary::of(part);
            if self.detector.all_within(rules, summary.min, summary.max) {
                self.history.append(part);
            } else {
                self.evaluate(part, &run.places[done..end], rules, report);
            }
            self.summary.merge(&summary);
            if self.detector.observe(rules, part.len(), newest(&self.history)) {
                self.history.set_checkpoint();
            }
            done = end;
        }
    }

    /// Stores a reading that neither begins nor ends an alert nor is the last before a refresh of the detector; false if it is
    /// one of these. Most runs are one such reading, for which this takes half the instructions of the general way.
    #[inline]
    fn append_unremarkable(&mut self, reading: &Reading, rules: &Rules) -> bool {
        let Reading { temperature, .. } = *reading;
        if !self.detector.all_within(rules, temperature, temperature) || !self.detector.count_one() {
            return false;
        }
        self.history.push(*reading);
        self.summary.add(temperature);
        true
    }

    /// Looks at each reading with the history that was there before it.
    fn evaluate(&mut self, part: &[Reading], places: &[u32], rules: &Rules, report: &mut Report) {
        for (reading, place) in part.iter().zip(places) {
            let alert = self.detector.evaluate(rules, reading.temperature, newest(&self.history));
            if let Some(alert) = alert {
                report.alerts.push((*place as usize, alert));
            }
            self.history.push(*reading);
        }
    }

    pub(super) fn stats(&self, recent_window: usize, idle: Duration) -> Stats {
        let recent = self.history.newest(recent_window);
        Stats {
            count: self.summary.count,
            mean: self.summary.mean,
            min: self.summary.min,
            max: self.summary.max,
            standard_deviation: self.summary.standard_deviation(),
            last: *self.history.last().expect("a sensor holds at least one reading"),
            idle,
            recent_mean: mean(&recent),
            recent_count: u32::try_from(recent.len()).unwrap_or(u32::MAX),
            held: self.history.len() as u64,
            alerts: self.detector.alerts(),
            alerting: self.detector.alerting(),
        }
    }

    /// The sequence number of the oldest reading held; the first ever has 0.
    pub(super) fn first(&self) -> u64 {
        self.summary.count - self.history.len() as u64
    }
}

/// Newest first. Decompressed when the detector asks for it, which is seldom.
fn newest(history: &History) -> impl Iterator<Item = f64> {
    std::iter::once_with(|| history.newest(HISTORY).into_iter().rev()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{AlertSettings, memory::quota::Quota};

    const HELD: usize = 150;

    proptest! {
        /// Against a detector and a summary that see each reading, with alerts, refreshes and evictions.
        #[test]
        fn single_readings_agree_with_detector_and_summary(
            temperatures in vec(prop_oneof![9 => 19.0..21.0_f64, 1 => -40.0..60.0_f64], 1..400),
        ) {
            let rules = Rules::from(&AlertSettings { low: Some(-20.0), high: Some(40.0), z_score: Some(3.5) });
            let limits = Limits {
                readings_per_sensor: HELD,
                sensors: 1,
                readings: usize::MAX,
                memory: usize::MAX,
                idle: Duration::MAX,
                recent_window: HELD,
            };
            let quota = Quota::new(limits.readings);
            let (mut sensor, mut report) = (Sensor::new("cellar", 0, false), Report::default());
            let (mut detector, mut summary, mut alerts) = (Detector::default(), Summary::default(), Vec::new());
            for (index, &temperature) in temperatures.iter().enumerate() {
                let reading = Reading { temperature, timestamp: 0 };
                let run = Run { readings: &[reading], places: &[u32::try_from(index).unwrap()] };
                sensor.append(run, &rules, &limits, &mut Reservation::new(&quota), &mut report);

                let before = |end: usize| temperatures[..end].iter().rev().copied();
                alerts.extend(detector.evaluate(&rules, temperature, before(index)).map(|alert| (index, alert)));
                detector.observe(&rules, 1, before(index + 1));
                summary.merge(&Summary::of(&[reading]));
                prop_assert_eq!(sensor.detector.until_refresh(), detector.until_refresh());
            }
            prop_assert_eq!(report.alerts, alerts);
            prop_assert_eq!(sensor.summary, summary);
            prop_assert_eq!(sensor.history.newest(HELD), &temperatures[temperatures.len().saturating_sub(HELD)..]);
        }
    }
}
