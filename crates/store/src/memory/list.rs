use std::hash::BuildHasher as _;

use super::{
    hash::{SHARDS, shard_of},
    shard::Slot,
    store::Memory,
};
use crate::{Page, StoreError, page_token};

impl Memory {
    /// Sensors by shard and by a hash of their own: an order that stays while sensors come and go, found without a look
    /// at any sensor but those of the page. The token is the last sensor of the page before.
    pub(crate) fn list(&self, page_token: &str, page_size: usize) -> Result<Page, StoreError> {
        let after = page_token::decode(page_token)?.map(|id| {
            let hash = self.hash(&id);
            (shard_of(hash), self.order(hash), id)
        });
        let mut page = Page::default();
        for index in after.as_ref().map_or(0, |(shard, ..)| *shard)..SHARDS {
            let left = page_size - page.sensors.len();
            let now = self.now();
            let shard = self.lock(index);
            let mut slots: Vec<_> = shard
                .sensors
                .iter()
                .filter(|slot| !slot.is_idle(now, self.shared.idle))
                .map(|slot| (self.order(slot.hash), slot))
                .filter(|(order, slot)| {
                    after.as_ref().is_none_or(|(shard, after, id)| {
                        *shard != index || (*order, slot.sensor.id.as_str()) > (*after, id)
                    })
                })
                .collect();
            let order = |a: &(u64, &Slot), b: &(u64, &Slot)| {
                a.0.cmp(&b.0).then_with(|| a.1.sensor.id.cmp(&b.1.sensor.id))
            };
            let more = slots.len() > left;
            if more {
                slots.select_nth_unstable_by(left, order);
                slots.truncate(left);
            }
            slots.sort_unstable_by(order);
            page.sensors.extend(slots.iter().map(|(_, slot)| {
                (slot.sensor.id.to_string(), slot.stats(now, self.shared.limits.recent_window))
            }));
            if more {
                page.next = page.sensors.last().map(|(id, _)| page_token::encode(id));
                break;
            }
        }
        Ok(page)
    }

    fn order(&self, hash: u64) -> u64 {
        self.listing_order.hash_one(hash)
    }
}
