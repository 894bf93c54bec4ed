//! The store itself, without gRPC.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, select};
use kelvin_store::{Batch, Query, Reading, Report, Store};
use tokio::time::interval;

use crate::{
    error::{Failure, Result},
    variant::Variant,
};

/// Writers at a time.
const WRITERS: usize = 16;

/// Stores `readings` of each of so many sensors in batches of `size`, and says how many bytes that took, by reading.
pub(crate) fn fill(variant: &Variant, sensors: usize, readings: usize, size: usize) -> Result<f64> {
    let before = variant.memory()?;
    variant.runtime.block_on(async {
        let store = variant.open().await?;
        let (mut batch, mut report) = (Batch::default(), Report::default());
        for round in 0..readings / size {
            for part in (0..sensors).collect::<Vec<_>>().chunks(1000) {
                batch.clear();
                for sensor in part {
                    for at in 0..size {
                        batch.push(&name(*sensor), reading(round * size + at));
                    }
                }
                store.append(&batch, &mut report).await?;
            }
        }
        Ok::<_, Failure>(())
    })?;
    Ok((variant.memory()? - before) / (sensors * readings) as f64)
}

/// Reads all of so many sensors, a few at a time, and says how many readings came in a second.
pub(crate) fn read_back(variant: &Variant, sensors: usize, time: Duration) -> Result<f64> {
    variant.runtime.block_on(async {
        let store = &variant.open().await?;
        let start = Instant::now();
        let readers = (0..WRITERS).map(async |reader| {
            let (mut sensor, mut count, mut out) = (reader, 0, Vec::new());
            while start.elapsed() < time {
                let mut reader = store.read(&name(sensor % sensors), Query::default()).await?;
                while reader.next(&mut out).await? {
                    count += out.len();
                    out.clear();
                }
                sensor += WRITERS;
            }
            Ok::<_, Failure>(count)
        });
        let counts = join_all(readers).await.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(counts.iter().sum::<usize>() as f64 / start.elapsed().as_secs_f64())
    })
}

/// The 99th percentile in milliseconds of the time from handing a reading over at one server until a follower at
/// another has it, while streams of all sensors keep the first one busy.
pub(crate) fn follow(variant: &Variant, time: Duration) -> Result<f64> {
    variant.runtime.block_on(async {
        let (here, there) = (variant.open().await?, variant.open().await?);
        let load = join_all((0..WRITERS).map(|writer| stream(&here, writer)));
        let followed = std::pin::pin!(delays(&here, &there, time));
        match select(followed, std::pin::pin!(load)).await {
            futures_util::future::Either::Left((delays, _)) => {
                let mut delays = delays?;
                delays.sort_unstable();
                Ok(delays[delays.len() * 99 / 100].as_secs_f64() * 1e3)
            }
            futures_util::future::Either::Right(_) => Err("the load ended early".into()),
        }
    })
}

/// Batches of a thousand sensors in turn, until one is refused.
async fn stream(store: &Store, writer: usize) -> Result<()> {
    let (mut batch, mut report) = (Batch::default(), Report::default());
    for at in writer * 63.. {
        batch.push(&name(at % 1000), reading(at));
        if batch.len() == 500 {
            store.append(&batch, &mut report).await?;
            batch.clear();
        }
    }
    Ok(())
}

async fn delays(here: &Store, there: &Store, time: Duration) -> Result<Vec<Duration>> {
    const SENSOR: &str = "followed";
    let mut reader = there.read(SENSOR, Query { follow: true, ..Query::default() }).await?;
    let begin = Instant::now();
    let write = async {
        let (mut batch, mut report) = (Batch::default(), Report::default());
        let mut ticks = interval(Duration::from_millis(5));
        while begin.elapsed() < time {
            ticks.tick().await;
            batch.clear();
            // When it was handed over, in nanoseconds, which a double holds.
            let sent = Reading { temperature: begin.elapsed().as_nanos() as f64, timestamp: 0 };
            batch.push(SENSOR, sent);
            here.append(&batch, &mut report).await?;
        }
        batch.clear();
        batch.push(SENSOR, Reading { temperature: -1.0, timestamp: 0 });
        Ok::<_, Failure>(here.append(&batch, &mut report).await?)
    };
    let read = async {
        let (mut delays, mut out) = (Vec::new(), Vec::new());
        loop {
            reader.next(&mut out).await?;
            let now = begin.elapsed();
            for Reading { temperature, .. } in out.drain(..) {
                if temperature < 0.0 {
                    return Ok(delays);
                }
                delays.push(now.saturating_sub(Duration::from_secs_f64(temperature / 1e9)));
            }
        }
    };
    let (written, delays) = tokio::join!(write, read);
    written?;
    delays
}

fn name(sensor: usize) -> String {
    format!("sensor-{sensor:06}")
}

fn reading(at: usize) -> Reading {
    Reading { temperature: 20.0 + (at % 97) as f64 / 100.0, timestamp: 1_700_000_000 }
}
