use std::time::Duration;

use redis::Value;
use tokio::{task::JoinHandle, time::sleep};

use super::{
    ValkeyStore,
    news::Follower,
    record::{READING, Record, unpack},
    scripts::RANGE,
    text,
};
use crate::{Query, Reading, StoreError};

/// A follower looks by itself this often: news is a hint that may get lost.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes of readings aimed at in one answer.
const ANSWER: usize = 128 * 1024;
/// Stream entries asked for at most in one answer, and at first.
const ENTRIES: (usize, usize) = (4096, 128);

/// Reads a sensor's stream by ranges of sequence numbers; the first reading ever has 1.
#[derive(Debug)]
pub(crate) struct ValkeyReader {
    store: ValkeyStore,
    id: String,
    since: i64,
    until: Option<i64>,
    /// When the sensor that is being read was first seen.
    born: Option<f64>,
    next: u64,
    /// How many readings there were when it began.
    count: u64,
    /// The last one wanted.
    end: Option<u64>,
    entries: usize,
    /// The next answer, asked for while the one before is given out. One at most, so that a reader holds two.
    ahead: Option<Ahead>,
    missed: u64,
    follower: Option<Follower>,
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
    pub(crate) async fn new(store: &ValkeyStore, sensor_id: &str, query: &Query) -> Result<Self, StoreError> {
        let follower = query.follow.then(|| store.news.follow(sensor_id));
        let mut reader = Self {
            store: store.clone(),
            id: sensor_id.to_owned(),
            since: query.since.unwrap_or(i64::MIN),
            until: query.until,
            born: None,
            next: 1,
            count: 0,
            end: Some(0),
            entries: ENTRIES.1,
            ahead: None,
            missed: 0,
            follower,
        };
        if let Some(record) = reader.record().await? {
            reader.born = Some(record.born);
            reader.count = record.count;
            reader.next = record.count - record.held + 1;
            reader.end = Some(record.count);
            if let Some(limit) = query.limit {
                reader.next = reader.start(&record, limit).await?;
            }
        }
        if query.follow {
            reader.end = None;
        }
        Ok(reader)
    }

    pub(crate) async fn next(&mut self, out: &mut Vec<Reading>) -> Result<bool, StoreError> {
        loop {
            // Told before looking, so that what comes in between is not slept through.
            let mut news = self.follower.as_ref().map(|follower| Box::pin(follower.news().notified_owned()));
            if let Some(news) = &mut news {
                news.as_mut().enable();
            }
            if self.end.is_some_and(|end| self.next > end) {
                return Ok(false);
            }
            let before = out.len();
            let looked = self.step(out).await?;
            if out.len() > before {
                return Ok(true);
            }
            match (looked, news) {
                (true, _) => {}
                (false, None) => return Ok(false),
                (false, Some(news)) => {
                    tokio::select! {
                        () = news => {}
                        () = sleep(LOOK) => {}
                    }
                }
            }
        }
    }

    /// Begins with the reading of this sequence number, or the next one to come if it is not given yet.
    pub(crate) fn begin_at(&mut self, from: u64) {
        self.next = from.clamp(1, self.count + 1);
    }

    /// The sequence number of the last reading looked at.
    pub(crate) fn position(&self) -> u64 {
        self.next - 1
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }

    /// Gives out one answer's readings; false if there was nothing to look at.
    async fn step(&mut self, out: &mut Vec<Reading>) -> Result<bool, StoreError> {
        let found = match self.ahead.take() {
            Some(ahead) => ahead.await.map_err(|error| StoreError::Unavailable(error.to_string()))?,
            None => self.find().await,
        };
        let Some(Found { record, entries, last, packed }) = found? else { return Ok(false) };
        if self.born != Some(record.born) {
            if self.follower.is_none() {
                return Ok(false);
            }
            // It was forgotten, or never known, and came (back) while being followed.
            (self.born, self.next) = (Some(record.born), 1);
            return Ok(true);
        }
        self.skip_to(record.count - record.held + 1);
        if entries == 0 {
            // What was there is cut off by now.
            self.skip_to(self.end.map_or(self.next, |end| end + 1));
            return Ok(false);
        }
        self.entries = (entries * ANSWER / packed.len().max(1)).clamp(1, ENTRIES.0);
        let first = last + 1 - (packed.len() / READING) as u64;
        self.skip_to(first);
        let known = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        self.next = self.next.max(last + 1);
        self.look_ahead(record.count);
        let readings = unpack(&packed).skip(known);
        if self.since == i64::MIN && self.until.is_none() {
            out.extend(readings);
        } else {
            out.extend(readings.filter(|reading| self.wants(reading)));
        }
        Ok(true)
    }

    /// Asks for what comes next if something does.
    fn look_ahead(&mut self, count: u64) {
        if self.next <= self.end.map_or(count, |end| end.min(count)) {
            self.ahead = Some(tokio::spawn(self.find()));
        }
    }

    /// What lies before `first` is gone.
    fn skip_to(&mut self, first: u64) {
        let first = self.end.map_or(first, |end| first.min(end + 1));
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
        let answer = self.store.ask(partition.slot, "HGET", &pipeline).await?;
        Ok(self.store.shared.record(answer.first()))
    }

    fn find(&self) -> impl Future<Output = Result<Option<Found>, StoreError>> + Send + use<> {
        let store = self.store.clone();
        let partition = store.shared.keys.of(&self.id);
        let slot = partition.slot;
        let (statistics, stream) = (partition.statistics(), partition.stream(&self.id));
        let mut call = RANGE.call([statistics.as_str(), stream.as_str()].into_iter());
        call.arg(&self.id).arg(self.next);
        match self.end {
            Some(end) => call.arg(end),
            None => call.arg("+"),
        };
        call.arg(self.entries);
        async move {
            let answer = store.ask(slot, "EVALSHA", redis::pipe().add_command(call)).await?;
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

    /// Where to begin for the newest `limit` readings that are wanted.
    async fn start(&self, record: &Record, limit: u64) -> Result<u64, StoreError> {
        let first = record.count - record.held + 1;
        if self.since == i64::MIN && self.until.is_none() {
            return Ok(first.max((record.count + 1).saturating_sub(limit)));
        }
        let (mut at, mut wanted, mut entries) = (record.count + 1, 0, ENTRIES.1);
        while at > first && wanted < limit {
            let packed = self.before(at, entries).await?;
            if packed.is_empty() {
                break;
            }
            entries = (entries * ANSWER / packed.len()).clamp(1, ENTRIES.0);
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

    /// Some of the readings before a sequence number. Whole entries: an entry is found by the number of its last reading
    /// only, so what a cut left of one could not be asked for.
    async fn before(&self, at: u64, entries: usize) -> Result<Vec<u8>, StoreError> {
        let partition = self.store.shared.keys.of(&self.id);
        let mut pipeline = redis::pipe();
        pipeline.cmd("XREVRANGE").arg(partition.stream(&self.id)).arg(at - 1).arg("-");
        pipeline.arg("COUNT").arg(entries);
        let answer = self.store.ask(partition.slot, "XREVRANGE", &pipeline).await?;
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
