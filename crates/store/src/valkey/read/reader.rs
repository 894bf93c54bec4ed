//! Reads a sensor's stream by ranges of sequence numbers; the first reading ever has 1.
//!
//! Every reading with a number below [`next`](ValkeyReader::next) has been returned, filtered out by the query or
//! counted as missed. `next` only grows, except when the sensor expired and came back: its record then has another
//! creation time, its numbers start again, and so does a follower.
//!
//! A reader ends at the number that was the newest when it began, or follows: then it goes on with what arrives. Valkey's
//! notification is a hint that may be lost (a reconnect, a failover), so a follower also looks once a second; the
//! numbers, not the notification, say what is new.

use std::time::Duration;

use redis::Value;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    super::{
        notify::Subscriber,
        record::{READING, Record, unpack},
        scripts::RANGE,
        value::text,
    },
    handle::ReadHandle,
};
use crate::{Query, Reading, StoreError};

/// How often a follower looks without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Bytes of readings aimed at in one answer.
const TARGET_ANSWER: usize = 128 * 1024;
/// Stream entries asked for at first, and at most, in one answer.
const ENTRIES: (usize, usize) = (128, 4096);

/// Reads one sensor.
#[derive(Debug)]
pub(crate) struct ValkeyReader {
    store: ReadHandle,
    id: String,
    since: i64,
    until: Option<i64>,
    /// When the sensor that is being read was first seen; `None` before it was found.
    created: Option<f64>,
    /// The sequence number to read next.
    next: u64,
    end: End,
    /// Entries to ask for, so that an answer has about [`TARGET_ANSWER`] bytes.
    entries: usize,
    /// The next answer, asked for while the one before is given out. One at most: a reader holds no more than two.
    ahead: Option<Ahead>,
    missed: u64,
}

#[derive(Debug)]
enum End {
    /// The last sequence number wanted.
    At(u64),
    Following(Subscriber),
}

type Ahead = JoinHandle<Result<Option<Found>, StoreError>>;

/// One answer.
#[derive(Debug)]
struct Found {
    record: Record,
    entries: usize,
    /// The sequence number of the last reading.
    last: u64,
    packed: Vec<u8>,
}

impl ValkeyReader {
    pub(in crate::valkey) async fn new(
        store: &ReadHandle,
        sensor_id: &str,
        query: &Query,
    ) -> Result<Self, StoreError> {
        // Subscribed before the record is read: what arrives in between is notified.
        let subscriber = query.follow.then(|| store.notifications.subscribe(sensor_id));
        let mut reader = Self {
            store: store.clone(),
            id: sensor_id.to_owned(),
            since: query.since.unwrap_or(i64::MIN),
            until: query.until,
            created: None,
            next: 1,
            end: End::At(0),
            entries: ENTRIES.0,
            ahead: None,
            missed: 0,
        };
        if let Some(record) = reader.record().await? {
            reader.created = Some(record.created);
            reader.next = record.first();
            reader.end = End::At(record.count);
            if let Some(limit) = query.limit {
                reader.next = reader.start(&record, limit).await?;
            }
        }
        if let Some(subscriber) = subscriber {
            reader.end = End::Following(subscriber);
        }
        Ok(reader)
    }

    pub(crate) async fn next(&mut self, out: &mut Vec<Reading>) -> Result<bool, StoreError> {
        loop {
            let mut notified = match &self.end {
                End::At(end) if self.next > *end => return Ok(false),
                End::At(_) => None,
                End::Following(subscriber) => Some(Box::pin(subscriber.notified())),
            };
            // Enabled before looking: a notification between looking and waiting would be lost otherwise.
            if let Some(notified) = &mut notified {
                notified.as_mut().enable();
            }
            let before = out.len();
            let found = self.step(out).await?;
            if out.len() > before {
                return Ok(true);
            }
            match (found, notified) {
                // All of the answer was filtered out.
                (true, _) => {}
                (false, None) => return Ok(false),
                (false, Some(notified)) => {
                    tokio::select! {
                        () = notified => {}
                        () = sleep(POLL_INTERVAL) => {}
                    }
                }
            }
        }
    }

    /// The sequence number of the last reading looked at.
    pub(crate) fn position(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Gives out one answer's readings; false if there was nothing to look at.
    ///
    /// The order matters: first whether it is still the same sensor, then what was evicted, then what the answer has; the
    /// next answer is asked for when `next` stands, and before this one is unpacked.
    async fn step(&mut self, out: &mut Vec<Reading>) -> Result<bool, StoreError> {
        let found = match self.ahead.take() {
            Some(ahead) => ahead.await.map_err(|error| StoreError::Unavailable(error.to_string()))?,
            None => self.find().await,
        };
        let Some(Found { record, entries, last, packed }) = found? else { return Ok(false) };
        if self.created != Some(record.created) {
            return Ok(self.restart(&record));
        }
        self.skip_to(record.first());
        if entries == 0 {
            // The rest was evicted after the record was read.
            self.skip_to(self.last_wanted().map_or(self.next, |end| end + 1));
            return Ok(false);
        }
        self.entries = (entries * TARGET_ANSWER / packed.len().max(1)).clamp(1, ENTRIES.1);
        let first = last + 1 - (packed.len() / READING) as u64;
        self.skip_to(first);
        // The first entry may begin before what is wanted.
        let seen = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        self.next = self.next.max(last + 1);
        self.look_ahead(record.count);
        let readings = unpack(&packed).skip(seen);
        if self.since == i64::MIN && self.until.is_none() {
            out.extend(readings);
        } else {
            out.extend(readings.filter(|reading| self.wants(reading)));
        }
        Ok(true)
    }

    /// The sensor expired, or was unknown, and arrived while being followed: its numbers start with 1. A reader that does
    /// not follow is at its end.
    fn restart(&mut self, record: &Record) -> bool {
        let follows = matches!(self.end, End::Following(_));
        if follows {
            (self.created, self.next) = (Some(record.created), 1);
        }
        follows
    }

    fn last_wanted(&self) -> Option<u64> {
        match self.end {
            End::At(end) => Some(end),
            End::Following(_) => None,
        }
    }

    /// Asks for the next answer if there is more.
    fn look_ahead(&mut self, count: u64) {
        if self.next <= self.last_wanted().map_or(count, |end| end.min(count)) {
            self.ahead = Some(tokio::spawn(self.find()));
        }
    }

    /// Counts what lies before `first` as missed.
    fn skip_to(&mut self, first: u64) {
        let first = self.last_wanted().map_or(first, |end| first.min(end + 1));
        self.missed += first.saturating_sub(self.next);
        self.next = self.next.max(first);
    }

    fn wants(&self, reading: &Reading) -> bool {
        reading.timestamp >= self.since && self.until.is_none_or(|until| reading.timestamp < until)
    }

    async fn record(&self) -> Result<Option<Record>, StoreError> {
        let partition = self.store.shared.keys.of(&self.id);
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGET").arg(partition.statistics()).arg(&self.id);
        let answer = self.store.query(partition.slot, "HGET", &pipeline).await?;
        Ok(self.store.shared.record(answer.first()))
    }

    fn find(&self) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send + use<> {
        let store = self.store.clone();
        let partition = store.shared.keys.of(&self.id);
        let slot = partition.slot;
        let (statistics, stream) = (partition.statistics(), partition.stream(&self.id));
        let mut call = RANGE.call([statistics.as_str(), stream.as_str()].into_iter());
        call.arg(&self.id).arg(self.next);
        match self.last_wanted() {
            Some(end) => call.arg(end),
            None => call.arg("+"),
        };
        call.arg(self.entries);
        async move {
            let answer = store.query(slot, "EVALSHA", redis::pipe().add_command(call)).await?;
            let Some(Value::Array(answer)) = answer.into_iter().next() else { return Ok(None) };
            let Ok([record, Value::Int(entries), name, Value::BulkString(packed)]) =
                <[Value; 4]>::try_from(answer)
            else {
                return Ok(None);
            };
            let Some(record) = store.shared.record(Some(&record)) else { return Ok(None) };
            let last = text(&name).and_then(|name| name.split('-').next()?.parse().ok()).unwrap_or(0);
            Ok(Some(Found { record, entries: usize::try_from(entries).unwrap_or(0), last, packed }))
        }
    }

    /// Returns where to begin for the newest `limit` readings that are wanted.
    async fn start(&self, record: &Record, limit: u64) -> Result<u64, StoreError> {
        let first = record.first();
        if self.since == i64::MIN && self.until.is_none() {
            return Ok(first.max((record.count + 1).saturating_sub(limit)));
        }
        let (mut at, mut wanted, mut entries) = (record.count + 1, 0, ENTRIES.0);
        while at > first && wanted < limit {
            let packed = self.before(at, entries).await?;
            if packed.is_empty() {
                break;
            }
            entries = (entries * TARGET_ANSWER / packed.len()).clamp(1, ENTRIES.1);
            for reading in unpack(&packed).rev() {
                if at == first || wanted == limit {
                    break;
                }
                at -= 1;
                wanted += u64::from(self.wants(&reading));
            }
        }
        Ok(at)
    }

    /// Returns some of the readings before a sequence number, as whole entries: an entry is found by the number of its
    /// last reading only, so the rest of one that was cut could not be asked for.
    async fn before(&self, at: u64, entries: usize) -> Result<Vec<u8>, StoreError> {
        let partition = self.store.shared.keys.of(&self.id);
        let mut pipeline = redis::pipe();
        pipeline.cmd("XREVRANGE").arg(partition.stream(&self.id)).arg(at - 1).arg("-");
        pipeline.arg("COUNT").arg(entries);
        let answer = self.store.query(partition.slot, "XREVRANGE", &pipeline).await?;
        let Some(Value::Array(entries)) = answer.into_iter().next() else { return Ok(Vec::new()) };
        Ok(entries.iter().rev().filter_map(packed).flatten().copied().collect())
    }
}

/// The readings of a stream entry: its name, then the name of its only field and the field.
fn packed(entry: &Value) -> Option<&[u8]> {
    let Value::Array(entry) = entry else { return None };
    let [_, Value::Array(fields)] = entry.as_slice() else { return None };
    let [_, Value::BulkString(packed)] = fields.as_slice() else { return None };
    Some(packed)
}
