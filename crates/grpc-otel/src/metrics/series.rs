//! An instrument with its attributes.
//!
//! With the feature `bound-instruments` the SDK is asked once for the place of the attributes;
//! without it, at every measurement.

#[cfg(not(feature = "bound-instruments"))]
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram};
#[cfg(feature = "bound-instruments")]
use opentelemetry::{
    KeyValue,
    metrics::{BoundCounter, BoundHistogram},
};

#[cfg(feature = "bound-instruments")]
pub(super) struct Sum(BoundCounter<u64>);

#[cfg(feature = "bound-instruments")]
impl Sum {
    pub(super) fn new(counter: &Counter<u64>, attributes: &[KeyValue]) -> Self {
        Self(counter.bind(attributes))
    }

    pub(super) fn add(&self, value: u64) {
        self.0.add(value);
    }
}

#[cfg(feature = "bound-instruments")]
pub(super) struct Distribution<T>(BoundHistogram<T>);

#[cfg(feature = "bound-instruments")]
impl<T: Clone> Distribution<T> {
    pub(super) fn new(histogram: &Histogram<T>, attributes: &[KeyValue]) -> Self {
        Self(histogram.bind(attributes))
    }

    pub(super) fn record(&self, value: T) {
        self.0.record(value);
    }
}

#[cfg(not(feature = "bound-instruments"))]
pub(super) struct Sum(Counter<u64>, Box<[KeyValue]>);

#[cfg(not(feature = "bound-instruments"))]
impl Sum {
    pub(super) fn new(counter: &Counter<u64>, attributes: &[KeyValue]) -> Self {
        Self(counter.clone(), attributes.into())
    }

    pub(super) fn add(&self, value: u64) {
        self.0.add(value, &self.1);
    }
}

#[cfg(not(feature = "bound-instruments"))]
pub(super) struct Distribution<T>(Histogram<T>, Box<[KeyValue]>);

#[cfg(not(feature = "bound-instruments"))]
impl<T: Clone> Distribution<T> {
    pub(super) fn new(histogram: &Histogram<T>, attributes: &[KeyValue]) -> Self {
        Self(histogram.clone(), attributes.into())
    }

    pub(super) fn record(&self, value: T) {
        self.0.record(value, &self.1);
    }
}
