use redis::Value;

use super::{
    super::{
        keys::Partition,
        record::Record,
        scripts::{TAIL, TAIL_SENSORS},
        shared::now,
        value::text,
    },
    handle::ReadHandle,
};
use crate::{Page, Stats, StoreError, page_token};

impl ReadHandle {
    pub(in crate::valkey) async fn stats(&self, sensor_id: &str) -> Result<Option<Stats>, StoreError> {
        let partition = self.shared.keys.of(sensor_id);
        let mut all = self.stats_of(partition, &[sensor_id.to_owned()]).await?;
        Ok(all.pop().map(|(_, stats)| stats))
    }

    /// Sensors by partition and name. The token is the last sensor of the page before.
    pub(in crate::valkey) async fn list(
        &self,
        page_token: &str,
        page_size: usize,
    ) -> Result<Page, StoreError> {
        let mut after = page_token::decode(page_token)?;
        let mut number = after.as_deref().map(|id| self.shared.keys.number_of(id));
        let partitions = self.shared.keys.all();
        let mut sensors = Vec::new();
        // One sensor more than asked for shows whether there is another page.
        while sensors.len() <= page_size && number.unwrap_or(0) < partitions.len() {
            let partition = &partitions[number.unwrap_or(0)];
            let wanted = (page_size + 1 - sensors.len()).min(TAIL_SENSORS);
            let names = self.names(partition, after.as_deref(), wanted).await?;
            if names.len() < wanted {
                (number, after) = (Some(number.unwrap_or(0) + 1), None);
            } else {
                after = names.last().cloned();
            }
            sensors.extend(self.stats_of(partition, &names).await?);
        }
        let next = (sensors.len() > page_size).then(|| {
            sensors.truncate(page_size);
            sensors.last().map(|(id, _)| page_token::encode(id)).unwrap_or_default()
        });
        Ok(Page { sensors, next })
    }

    async fn names(
        &self,
        partition: &Partition,
        after: Option<&str>,
        count: usize,
    ) -> Result<Vec<String>, StoreError> {
        let from = after.map_or("-".to_owned(), |after| format!("({after}"));
        let mut pipeline = redis::pipe();
        pipeline.cmd("ZRANGE").arg(partition.names()).arg(from).arg("+").arg("BYLEX");
        pipeline.arg("LIMIT").arg(0).arg(count);
        let answer = self.query(partition.slot, "ZRANGE", &pipeline).await?;
        let Some(Value::Array(names)) = answer.first() else { return Ok(Vec::new()) };
        Ok(names.iter().filter_map(text).map(str::to_owned).collect())
    }

    /// Returns the statistics of those sensors of a partition that exist.
    async fn stats_of(
        &self,
        partition: &Partition,
        names: &[String],
    ) -> Result<Vec<(String, Stats)>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys = vec![partition.statistics()];
        keys.extend(names.iter().map(|name| partition.stream(name)));
        let mut call = TAIL.call(keys.iter().map(String::as_str));
        let window = self.shared.limits.recent_window;
        call.arg(window).arg(partition.stream_prefix()).arg(vec!["+"; names.len()]);
        let answer = self.query(partition.slot, "EVALSHA", redis::pipe().add_command(call)).await?;
        let Some(Value::Array(answers)) = answer.first() else { return Ok(Vec::new()) };
        let existing = names.iter().zip(answers.chunks(2)).filter_map(|(name, answer)| {
            let [Value::BulkString(record), Value::BulkString(tail)] = answer else { return None };
            let record = self.shared.unless_idle(Record::read(record)?)?;
            Some((name.clone(), record.stats(tail, window, now())))
        });
        Ok(existing.collect())
    }
}
