use std::collections::VecDeque;

use compact_str::CompactString;

use crate::{
    Limits, Reading, Report, Stats,
    detector::{Detector, HISTORY, Rules},
    summary::Summary,
};

/// One sensor; what an append touches lies in two cache lines and the ring's end.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Sensor {
    pub(super) id: CompactString,
    /// The newest readings, oldest first.
    pub(super) ring: VecDeque<Reading>,
    pub(super) summary: Summary,
    detector: Detector,
    /// Someone waits for new readings.
    pub(super) followed: bool,
    /// Tells a sensor from one of the same name that was forgotten.
    pub(super) birth: u32,
}

/// Readings of one sensor in a batch, with their places in it.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) readings: Vec<Reading>,
    pub(super) places: Vec<u32>,
}

impl Sensor {
    pub(super) fn new(id: &str, birth: u32, followed: bool) -> Self {
        Self {
            id: id.into(),
            ring: VecDeque::new(),
            summary: Summary::default(),
            detector: Detector::default(),
            followed,
            birth,
        }
    }

    /// Takes the readings in, growing by at most `room` places, which it takes off. Returns how many older readings
    /// went.
    pub(super) fn append(
        &mut self,
        run: &Run,
        rules: &Rules,
        limits: &Limits,
        room: &mut usize,
        report: &mut Report,
    ) -> usize {
        let held = self.ring.len();
        let growth = run.readings.len().min(limits.readings_per_sensor - held).min(*room);
        *room -= growth;
        let capacity = held + growth;
        self.reserve(capacity, limits.readings_per_sensor);

        let mut done = 0;
        while done < run.readings.len() {
            let end = run.readings.len().min(done + self.detector.due());
            let part = &run.readings[done..end];
            let summary = Summary::of(part);
            if self.detector.quiet(rules, summary.min, summary.max) {
                self.keep(part, capacity);
            } else {
                self.judge(part, &run.places[done..end], capacity, rules, report);
            }
            self.summary.merge(&summary);
            self.detector.seen(rules, part.len(), self.ring.iter().rev().map(|reading| reading.temperature));
            done = end;
        }
        run.readings.len() - growth
    }

    /// Grows by half, so that at most a third of the room is slack, and never over the bound.
    fn reserve(&mut self, capacity: usize, bound: usize) {
        if capacity > self.ring.capacity() {
            let wanted = capacity.max(self.ring.capacity() * 3 / 2).max(4).min(bound);
            self.ring.reserve_exact(wanted - self.ring.len());
        }
    }

    fn keep(&mut self, readings: &[Reading], capacity: usize) {
        let readings = &readings[readings.len().saturating_sub(capacity)..];
        let over = (self.ring.len() + readings.len()).saturating_sub(capacity);
        if over > 0 {
            self.ring.drain(..over);
        }
        self.ring.extend(readings);
    }

    fn judge(
        &mut self,
        part: &[Reading],
        places: &[u32],
        capacity: usize,
        rules: &Rules,
        report: &mut Report,
    ) {
        for (reading, place) in part.iter().zip(places) {
            let history = self.ring.iter().rev().take(HISTORY).map(|reading| reading.temperature);
            if let Some(alert) = self.detector.judge(rules, reading.temperature, history) {
                report.alerts.push((*place as usize, alert));
            }
            self.keep(std::slice::from_ref(reading), capacity);
        }
    }

    pub(super) fn stats(&self, recent_window: usize) -> Stats {
        let recent = self.ring.len().min(recent_window);
        let sum: f64 = self.ring.iter().rev().take(recent).map(|reading| reading.temperature).sum();
        Stats {
            count: self.summary.count,
            mean: self.summary.mean,
            min: self.summary.min,
            max: self.summary.max,
            standard_deviation: self.summary.standard_deviation(),
            last: *self.ring.back().expect("a sensor holds at least one reading"),
            recent_mean: sum / recent as f64,
            recent_count: u32::try_from(recent).unwrap_or(u32::MAX),
            held: self.ring.len() as u64,
            alerts: self.detector.alerts(),
            alerting: self.detector.alerting(),
        }
    }

    /// The sequence number of the oldest reading held; the first ever has 0.
    pub(super) fn first(&self) -> u64 {
        self.summary.count - self.ring.len() as u64
    }
}
