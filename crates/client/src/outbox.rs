//! Readings that the server has not acknowledged yet, oldest first, within a bound.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{Stream, stream};
use kelvin_proto::SensorReading;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// The readings that are not yet acknowledged. One call at a time sends from it.
#[derive(Debug, Clone)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
    metrics: Metrics,
}

#[derive(Debug)]
struct Queue {
    readings: VecDeque<SensorReading>,
    /// The number at the front that were passed to the current call and are not yet acknowledged.
    in_flight: usize,
    /// The number at the front that were sent at least once.
    sent_before: usize,
    capacity: usize,
    /// Dropped since the last acknowledgement.
    dropped: u64,
    /// The server refused the last one it was given.
    rejecting: bool,
    closed: bool,
}

impl Queue {
    fn remove(&mut self, count: usize) -> u64 {
        let count = count.min(self.in_flight);
        self.readings.drain(..count);
        self.in_flight -= count;
        self.sent_before -= count;
        count as u64
    }
}

impl Outbox {
    pub(crate) fn new(capacity: usize, metrics: Metrics) -> Self {
        let queue = Queue {
            readings: VecDeque::new(),
            in_flight: 0,
            sent_before: 0,
            capacity,
            dropped: 0,
            rejecting: false,
            closed: false,
        };
        Self(Arc::new(Shared { queue: Mutex::new(queue), changed: Notify::new(), metrics }))
    }

    /// Adds a reading; when there is no room, the oldest that is not on its way goes.
    pub(crate) fn push(&self, reading: SensorReading) {
        self.0.metrics.measured();
        let mut queue = self.queue();
        if queue.readings.len() >= queue.capacity {
            if queue.dropped == 0 {
                tracing::warn!(
                    readings = queue.readings.len(),
                    "backlog full (KELVIN_BACKLOG); dropping the oldest readings until the server accepts some"
                );
            }
            queue.dropped += 1;
            self.0.metrics.dropped();
            if queue.in_flight == queue.readings.len() {
                return;
            }
            let oldest = queue.in_flight;
            queue.readings.remove(oldest);
            if oldest < queue.sent_before {
                queue.sent_before -= 1;
            }
        }
        queue.readings.push_back(reading);
        drop(queue);
        self.0.changed.notify_one();
    }

    /// The next reading to send; waits for one. `None` when the outbox is closed and all are on their way.
    pub(crate) async fn next(&self) -> Option<SensorReading> {
        loop {
            {
                let mut queue = self.queue();
                if let Some(reading) = queue.readings.get(queue.in_flight).cloned() {
                    queue.in_flight += 1;
                    self.0.metrics.sent(queue.in_flight <= queue.sent_before);
                    queue.sent_before = queue.sent_before.max(queue.in_flight);
                    return Some(reading);
                }
                if queue.closed {
                    return None;
                }
            }
            self.0.changed.notified().await;
        }
    }

    /// [`next`](Self::next) as a stream.
    pub(crate) fn readings(&self) -> impl Stream<Item = SensorReading> + Send + use<> {
        stream::unfold(self.clone(), |outbox| async move { Some((outbox.next().await?, outbox)) })
    }

    /// The oldest `count` of those on their way are stored.
    pub(crate) fn acknowledge(&self, count: usize) {
        let mut queue = self.queue();
        let count = queue.remove(count);
        self.0.metrics.acknowledged(count);
        if count > 0 {
            queue.rejecting = false;
            let dropped = std::mem::take(&mut queue.dropped);
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    "the server accepts readings again; readings were dropped while the backlog was full"
                );
            }
        }
    }

    /// The server will not have the oldest `count` of those on their way: they are not sent again.
    pub(crate) fn reject(&self, count: usize, reason: &str) {
        let mut queue = self.queue();
        let count = queue.remove(count);
        self.0.metrics.rejected(count);
        if count > 0 && !std::mem::replace(&mut queue.rejecting, true) {
            tracing::warn!(readings = count, reason, "the server refuses readings; they are not sent again");
        }
    }

    /// The call is over: what it did not acknowledge is sent again by the next.
    pub(crate) fn retry(&self) {
        self.queue().in_flight = 0;
    }

    /// Returns the number of readings sent by the current call and not yet acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.queue().in_flight
    }

    /// Returns the number of readings not yet acknowledged, sent or not.
    pub(crate) fn len(&self) -> usize {
        self.queue().readings.len()
    }

    /// Nothing more comes: [`next`](Self::next) ends with what is there.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.0.changed.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use opentelemetry::metrics::MeterProvider as _;
    use opentelemetry_sdk::metrics::SdkMeterProvider;
    use proptest::prelude::*;

    use super::*;
    use kelvin_proto::CallType;

    fn outbox(capacity: usize) -> Outbox {
        let meter = SdkMeterProvider::default().meter("test");
        Outbox::new(capacity, Metrics::new(&meter, CallType::Unary))
    }

    fn reading(number: i64) -> SensorReading {
        SensorReading { timestamp: number, ..SensorReading::default() }
    }

    fn take(outbox: &Outbox, count: usize) -> Vec<i64> {
        (0..count).map_while(|_| outbox.next().now_or_never().flatten()).map(|r| r.timestamp).collect()
    }

    #[test]
    fn unacknowledged_readings_are_resent_in_order() {
        let outbox = outbox(10);
        (1..=5).for_each(|number| outbox.push(reading(number)));
        assert_eq!(take(&outbox, 3), [1, 2, 3]);
        outbox.acknowledge(1);
        outbox.reject(1, "no");
        outbox.retry();
        assert_eq!(take(&outbox, 9), [3, 4, 5]);
        outbox.acknowledge(9);
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn full_outbox_drops_oldest_not_in_flight() {
        let outbox = outbox(3);
        (1..=3).for_each(|number| outbox.push(reading(number)));
        assert_eq!(take(&outbox, 1), [1]);
        outbox.push(reading(4));
        assert_eq!(take(&outbox, 9), [3, 4]);
        outbox.push(reading(5));
        outbox.retry();
        assert_eq!(take(&outbox, 9), [1, 3, 4]);
    }

    #[tokio::test]
    async fn closed_outbox_drains_and_ends() {
        let outbox = outbox(3);
        outbox.push(reading(1));
        let readings = tokio::spawn(outbox.readings().collect::<Vec<_>>());
        outbox.push(reading(2));
        outbox.close();
        assert_eq!(readings.await.unwrap(), [reading(1), reading(2)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push,
        Take(usize),
        Acknowledge(usize),
        Reject(usize),
        Retry,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Push),
            2 => (0..5_usize).prop_map(Step::Take),
            1 => (0..5_usize).prop_map(Step::Acknowledge),
            1 => (0..5_usize).prop_map(Step::Reject),
            1 => Just(Step::Retry),
        ]
    }

    proptest! {
        /// Whatever happens, readings keep their order, and only a full backlog loses any.
        #[test]
        fn outbox_keeps_order_and_capacity(steps in proptest::collection::vec(step(), 0..200)) {
            let outbox = outbox(8);
            let mut pushed = 0;
            for step in steps {
                match step {
                    Step::Push => {
                        pushed += 1;
                        outbox.push(reading(pushed));
                    }
                    Step::Take(count) => {
                        take(&outbox, count);
                    }
                    Step::Acknowledge(count) => outbox.acknowledge(count),
                    Step::Reject(count) => outbox.reject(count, "no"),
                    Step::Retry => outbox.retry(),
                }
                let queue = outbox.queue();
                let numbers: Vec<_> = queue.readings.iter().map(|reading| reading.timestamp).collect();
                prop_assert!(numbers.is_sorted() && numbers.len() <= 8);
                prop_assert!(queue.in_flight <= queue.sent_before && queue.sent_before <= numbers.len());
            }
        }
    }
}
