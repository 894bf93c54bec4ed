//! Callers of the three call types that store readings. A reading is sent once, whatever becomes of it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use kelvin_proto::{CallType, SensorReading, Severity};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::notes::{Notes, Sent};
use crate::support::{Client, reading};

/// So slow that two cores have time left for `AT_ONCE` cells of unoptimized programs.
const PACE: Duration = Duration::from_millis(100);
/// Readings at each of these.
const BATCH: usize = 2;
/// How long a client-streaming call sends.
const STREAM: usize = 10;
/// Sensors of a caller; they lie in several partitions.
pub(crate) const SENSORS: u64 = 4;

/// The call types that store readings.
pub(crate) const CALL_TYPES: [CallType; 3] =
    [CallType::Unary, CallType::ClientStreaming, CallType::BidiStreaming];

/// Sends new readings until the notes are ended.
pub(crate) struct Caller {
    client: Client,
    notes: Arc<Notes>,
    number: u64,
    sent: u64,
    ticks: Interval,
    /// Calls that wait for their last answers.
    calls: JoinSet<()>,
}

/// What a call has sent and has no answer to.
type Unanswered = Arc<Mutex<VecDeque<Sent>>>;

pub(crate) fn sensor(caller: u64, reading: u64) -> String {
    format!("caller-{caller}-{}", reading % SENSORS)
}

impl Caller {
    pub(crate) fn new(client: Client, notes: Arc<Notes>, number: u64) -> Self {
        let mut ticks = interval(PACE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { client, notes, number, sent: 0, ticks, calls: JoinSet::new() }
    }

    pub(crate) async fn run(mut self, call_type: CallType) {
        while !self.notes.has_ended() {
            match call_type {
                CallType::Unary => self.unary().await,
                CallType::ClientStreaming => self.client_streaming().await,
                CallType::ServerStreaming => unreachable!("it stores no readings"),
                CallType::BidiStreaming => self.bidi_streaming().await,
            }
        }
        self.calls.join_all().await;
    }

    fn next(&mut self) -> (SensorReading, Sent) {
        let sent = Sent { id: (self.number, self.sent), at: Instant::now() };
        self.notes.sent(sent);
        let timestamp = i64::try_from(self.sent).expect("few readings");
        let reading = reading(&sensor(self.number, self.sent), 20.0, timestamp);
        self.sent += 1;
        (reading, sent)
    }

    /// Some calls of one reading each.
    async fn unary(&mut self) {
        self.ticks.tick().await;
        for _ in 0..BATCH {
            let (reading, sent) = self.next();
            let (mut client, notes) = (self.client.clone(), Arc::clone(&self.notes));
            self.calls.spawn(async move {
                match timeout(notes.deadline, client.send_single_reading(reading)).await {
                    Ok(Ok(_)) => notes.stored(&[sent]),
                    Ok(Err(status)) => check(&status),
                    Err(_) => notes.late(),
                }
            });
        }
    }

    /// A stream with one answer, which also says how many are stored when it has failed.
    async fn client_streaming(&mut self) {
        let (sender, readings) = unbounded_channel();
        let (mut client, notes) = (self.client.clone(), Arc::clone(&self.notes));
        let call = tokio::spawn(async move {
            client.stream_sensor_readings(UnboundedReceiverStream::new(readings)).await
        });
        let unanswered = Unanswered::default();
        self.feed(sender, &unanswered, STREAM).await;
        self.calls.spawn(async move {
            let Ok(answer) = timeout(notes.deadline, call).await else { return notes.late() };
            let stored = match answer.expect("the call does not panic") {
                Ok(ack) => ack.into_inner().accepted.expect("it says how many"),
                Err(status) => stored(&status),
            };
            let stored = usize::try_from(stored).expect("few readings");
            let mut sent = unanswered.lock().expect("nobody panics");
            notes.stored(&sent.make_contiguous()[..stored]);
        });
    }

    /// A stream with an answer to each reading, for as long as it goes well.
    async fn bidi_streaming(&mut self) {
        let (sender, readings) = unbounded_channel();
        let (mut client, notes) = (self.client.clone(), Arc::clone(&self.notes));
        let unanswered = Unanswered::default();
        let asked = Arc::clone(&unanswered);
        self.calls.spawn(async move {
            let call = client.sensor_chat(UnboundedReceiverStream::new(readings));
            let mut answers = match timeout(notes.deadline, call).await {
                Ok(Ok(answers)) => answers.into_inner(),
                Ok(Err(status)) => return check(&status),
                Err(_) => return notes.late(),
            };
            loop {
                match timeout(notes.deadline, answers.message()).await {
                    Ok(Ok(Some(answer))) => {
                        assert_ne!(answer.severity(), Severity::Rejected, "{}", answer.message);
                        let sent = asked.lock().expect("nobody panics").pop_front();
                        notes.stored(&[sent.expect("answers answer something")]);
                    }
                    Ok(Ok(None)) => return,
                    Ok(Err(status)) => return check(&status),
                    Err(_) => return notes.late(),
                }
            }
        });
        self.feed(sender, &unanswered, usize::MAX).await;
    }

    /// Sends at the pace, so often, unless the call ends before.
    async fn feed(&mut self, sender: UnboundedSender<SensorReading>, unanswered: &Unanswered, times: usize) {
        for _ in 0..times {
            self.ticks.tick().await;
            for _ in 0..BATCH {
                let (reading, sent) = self.next();
                unanswered.lock().expect("nobody panics").push_back(sent);
                if sender.send(reading).is_err() {
                    return;
                }
            }
            if self.notes.has_ended() {
                return;
            }
        }
    }
}

/// How many readings of a stream that failed are stored.
fn stored(status: &Status) -> u64 {
    check(status);
    let details = status.get_error_details();
    let stored = details.error_info().and_then(|info| info.metadata.get("stored"));
    stored.map_or(0, |stored| stored.parse().expect("a number"))
}

/// Nothing here is a reason for another status than one that asks to try again.
fn check(status: &Status) {
    assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{status}");
}
