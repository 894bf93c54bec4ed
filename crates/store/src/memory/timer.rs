use std::{cell::Cell, time::Instant};

use opentelemetry::metrics::{Histogram, Meter};

use crate::instruments::{self, Operation, StoreKind};

/// One in this many appends is timed: reading the clock and recording costs as much as storing a reading.
const TIMED: u32 = 64;

/// Measures a sample of the appends.
#[derive(Debug)]
pub(super) struct Timer(Histogram<f64>);

pub(super) struct Timing<'a>(Option<(&'a Histogram<f64>, Instant)>);

impl Timer {
    pub(super) fn new(meter: &Meter) -> Self {
        Self(instruments::duration(meter))
    }

    pub(super) fn start(&self) -> Timing<'_> {
        thread_local! {
            static APPENDS: Cell<u32> = const { Cell::new(0) };
        }
        let count = APPENDS.replace(APPENDS.get().wrapping_add(1));
        Timing(count.is_multiple_of(TIMED).then(|| (&self.0, Instant::now())))
    }
}

impl Timing<'_> {
    pub(super) fn stop(self, operation: Operation) {
        if let Some((histogram, start)) = self.0 {
            histogram.record(start.elapsed().as_secs_f64(), &[operation.into(), StoreKind::Memory.into()]);
        }
    }
}
