use std::sync::Arc;

use opentelemetry::{global::ObjectSafeTracer, metrics::Meter};
use tokio::task::yield_now;

use crate::{
    Aggregate, AggregateQuery, AlertSettings, Batch, Limits, Page, Query, Reading, Report, Stats, StoreError,
    ValkeySettings,
    memory::{self, Memory, MemoryReader},
    valkey::{Valkey, ValkeyReader, ValkeyStore},
    windows::Windows,
};

/// Readings of a shared store that are aggregated before other tasks may run: each may cost a look into a map.
const AGGREGATED: usize = 1024;

/// The kind of a store, with its settings.
#[derive(Debug, Clone)]
pub enum StoreConfig {
    /// In the memory of this process.
    Memory,
    /// On Valkey, or Redis from version 7, shared with other processes.
    Valkey(ValkeySettings),
}

/// Opens the same store for every runtime.
#[derive(Debug, Clone)]
pub struct StoreFactory(Source);

#[derive(Debug, Clone)]
enum Source {
    Memory(Arc<Memory>),
    Valkey(Arc<Valkey>),
}

impl StoreFactory {
    /// Validates the settings and registers the gauges of the store with `meter`.
    pub fn new(
        config: StoreConfig,
        limits: Limits,
        alerts: AlertSettings,
        meter: &Meter,
    ) -> Result<Self, StoreError> {
        limits.check()?;
        match config {
            StoreConfig::Memory => Ok(Self(Source::Memory(memory::open(limits, &alerts, meter)))),
            StoreConfig::Valkey(settings) => {
                Ok(Self(Source::Valkey(Arc::new(Valkey::new(settings, limits, &alerts, meter)?))))
            }
        }
    }

    /// Makes a shared store create spans for what it does on behalf of sampled calls; the memory store creates none.
    #[must_use]
    pub fn traced(self, tracer: impl ObjectSafeTracer + Send + Sync + 'static) -> Self {
        if let Source::Valkey(valkey) = &self.0 {
            valkey.trace(tracer);
        }
        self
    }

    /// Opens a store for the current runtime.
    pub async fn open(&self) -> Result<Store, StoreError> {
        match &self.0 {
            Source::Memory(memory) => Ok(Store(Handle::Memory(Arc::clone(memory)))),
            Source::Valkey(valkey) => Ok(Store(Handle::Valkey(valkey.open().await?))),
        }
    }
}

/// Readings and statistics per sensor. Clones share what the runtime opened.
#[derive(Debug, Clone)]
pub struct Store(Handle);

/// Futures of Valkey are boxed where they are awaited: they are large, and every call to memory would be as large.
#[derive(Debug, Clone)]
enum Handle {
    Memory(Arc<Memory>),
    Valkey(ValkeyStore),
}

impl Store {
    /// Stores the readings in order of arrival and reports into `report`, which is cleared first.
    ///
    /// Readings may arrive out of order or twice: they are kept and counted as they arrive, and the last to arrive is
    /// the sensor's last reading. After an error `report.stored` is the number of readings at the beginning of the batch
    /// that are known to be stored; of the others it is unknown.
    ///
    /// `report` is an out-parameter so that a stream reuses its allocations for every batch: the memory store fills it in
    /// place. The Valkey store replaces it with the report of the flush.
    pub async fn append(&self, batch: &Batch, report: &mut Report) -> Result<(), StoreError> {
        match &self.0 {
            Handle::Memory(memory) => {
                memory.append(batch, report);
                Ok(())
            }
            Handle::Valkey(valkey) => Box::pin(valkey.append(batch, report)).await,
        }
    }

    /// Stores one reading as [`append`](Self::append) does, without a batch where the store needs none.
    pub async fn append_one(
        &self,
        sensor_id: &str,
        reading: Reading,
        report: &mut Report,
    ) -> Result<(), StoreError> {
        match &self.0 {
            Handle::Memory(memory) => {
                memory.append_one(sensor_id.into(), reading, report);
                Ok(())
            }
            Handle::Valkey(valkey) => {
                let mut batch = Batch::default();
                batch.push(sensor_id, reading);
                Box::pin(valkey.append(&batch, report)).await
            }
        }
    }

    /// Reads what is stored of a sensor: nothing if it is unknown.
    pub async fn read(&self, sensor_id: &str, query: Query) -> Result<Reader, StoreError> {
        match &self.0 {
            Handle::Memory(memory) => {
                Ok(Reader(Inner::Memory(MemoryReader::new(memory, sensor_id, &query).await)))
            }
            Handle::Valkey(valkey) => {
                Ok(Reader(Inner::Valkey(Box::pin(valkey.read(sensor_id, &query)).await?)))
            }
        }
    }

    /// Aggregates what is stored of a sensor in windows of time; an unknown sensor has none.
    pub async fn aggregate(&self, sensor_id: &str, query: &AggregateQuery) -> Result<Aggregate, StoreError> {
        let AggregateQuery { since, until, step } = *query;
        let mut windows = Windows::new(step);
        let mut reader = self.read(sensor_id, Query { since, until, limit: None, follow: false }).await?;
        // Sequence numbers begin at 1, so what comes before the oldest that is held has been evicted.
        let evicted_before = reader.position();
        match &mut reader.0 {
            Inner::Memory(reader) => reader.aggregate(&mut windows).await?,
            Inner::Valkey(reader) => {
                let mut readings = Vec::new();
                while Box::pin(reader.next(&mut readings)).await? {
                    for part in readings.chunks(AGGREGATED) {
                        windows.add(part);
                        windows.check()?;
                        yield_now().await;
                    }
                    readings.clear();
                }
            }
        }
        Ok(Aggregate { windows: windows.finish()?, evicted: evicted_before + reader.missed() })
    }

    /// Returns statistics of a sensor since it was first seen; `None` if it is unknown.
    pub async fn stats(&self, sensor_id: &str) -> Result<Option<Stats>, StoreError> {
        match &self.0 {
            Handle::Memory(memory) => Ok(memory.stats(sensor_id)),
            Handle::Valkey(valkey) => Box::pin(valkey.stats(sensor_id)).await,
        }
    }

    /// Returns whether this process reports what the store holds. One of the processes that share a store does.
    #[must_use]
    pub fn is_reporter(&self) -> bool {
        match &self.0 {
            Handle::Memory(_) => true,
            Handle::Valkey(valkey) => valkey.is_reporter(),
        }
    }

    /// Returns a page of at most `page_size` sensors, in an order that stays; the first page has the empty token.
    pub async fn list(&self, page_token: &str, page_size: usize) -> Result<Page, StoreError> {
        match &self.0 {
            Handle::Memory(memory) => memory.list(page_token, page_size.max(1)),
            Handle::Valkey(valkey) => Box::pin(valkey.list(page_token, page_size.max(1))).await,
        }
    }
}

/// Reads one sensor in order of arrival.
#[derive(Debug)]
pub struct Reader(Inner);

#[derive(Debug)]
enum Inner {
    Memory(MemoryReader),
    Valkey(ValkeyReader),
}

impl Reader {
    /// Appends the next readings to `out`; returns false when there are no more. With [`Query::follow`] it waits for new
    /// ones instead.
    pub async fn next(&mut self, out: &mut Vec<Reading>) -> Result<bool, StoreError> {
        match &mut self.0 {
            Inner::Memory(reader) => Ok(reader.next(out).await),
            Inner::Valkey(reader) => Box::pin(reader.next(out)).await,
        }
    }

    /// Returns the number of readings evicted before this reader reached them, whether its query selects them or not.
    #[must_use]
    pub fn missed(&self) -> u64 {
        match &self.0 {
            Inner::Memory(reader) => reader.missed(),
            Inner::Valkey(reader) => reader.missed(),
        }
    }

    /// Returns the sequence number of the last reading looked at. The first reading since the sensor was first seen has
    /// number 1; a sensor that expired and comes back starts again.
    #[must_use]
    pub fn position(&self) -> u64 {
        match &self.0 {
            Inner::Memory(reader) => reader.position(),
            Inner::Valkey(reader) => reader.position(),
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), StoreError> {
        let numbers = [
            ("readings per sensor", self.readings_per_sensor),
            ("sensors", self.sensors),
            ("readings", self.readings),
            ("memory", self.memory),
            ("recent window", self.recent_window),
        ];
        for (name, value) in numbers {
            if value == 0 {
                return Err(StoreError::Settings(format!("the limit for {name} must be at least 1")));
            }
        }
        if self.idle.is_zero() {
            return Err(StoreError::Settings("the idle time must be greater than zero".to_owned()));
        }
        Ok(())
    }
}
