use super::{Memory, SHARDS, shard::Slot, shard_of};
use crate::{Page, StoreError};

impl Memory {
    /// Sensors by shard, hash and name: an order that stays while sensors come and go. The token is the last sensor
    /// of the page before.
    pub(crate) fn list(&self, page_token: &str, page_size: usize) -> Result<Page, StoreError> {
        let after = if page_token.is_empty() { None } else { Some(self.decode(page_token)?) };
        let mut page = Page::default();
        for index in after.as_ref().map_or(0, |(hash, _)| shard_of(*hash))..SHARDS {
            let left = page_size - page.sensors.len();
            let now = self.now();
            let shard = self.lock(index);
            let mut slots: Vec<_> = shard
                .sensors
                .iter()
                .filter(|slot| !slot.is_idle(now, self.shared.idle))
                .filter(|slot| {
                    after.as_ref().is_none_or(|(hash, id)| {
                        shard_of(*hash) != index || (slot.hash, slot.sensor.id.as_str()) > (*hash, id)
                    })
                })
                .collect();
            let order = |a: &&Slot, b: &&Slot| (a.hash, &a.sensor.id).cmp(&(b.hash, &b.sensor.id));
            if slots.len() > left {
                slots.select_nth_unstable_by(left, order);
                slots.truncate(left);
                page.next = Some(String::new());
            }
            slots.sort_unstable_by(order);
            page.sensors.extend(slots.iter().map(|slot| {
                (slot.sensor.id.to_string(), slot.sensor.stats(self.shared.limits.recent_window))
            }));
            if page.next.is_some() {
                break;
            }
        }
        page.next = page.next.and_then(|_| page.sensors.last().map(|(id, _)| self.encode(id)));
        Ok(page)
    }

    fn encode(&self, id: &str) -> String {
        format!("{:016x}{id}", self.hash(id))
    }

    /// A token of another store, or of this one before a restart, has other hashes.
    fn decode(&self, token: &str) -> Result<(u64, String), StoreError> {
        let (hash, id) = token.split_at_checked(16).ok_or(StoreError::PageToken)?;
        if u64::from_str_radix(hash, 16) == Ok(self.hash(id)) {
            Ok((self.hash(id), id.to_owned()))
        } else {
            Err(StoreError::PageToken)
        }
    }
}
