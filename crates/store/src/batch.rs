use crate::{Reading, SensorId};

/// Readings of many sensors in order of arrival. Meant to be reused: [`clear`](Batch::clear) keeps the room.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    ids: Vec<u8>,
    items: Vec<Item>,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    id_end: u32,
    reading: Reading,
}

impl Batch {
    /// Adds a reading behind the others.
    pub fn push<'a>(&mut self, sensor_id: impl Into<SensorId<'a>>, reading: Reading) {
        self.ids.extend_from_slice(sensor_id.into().as_bytes());
        let id_end = u32::try_from(self.ids.len()).expect("a batch holds less than 4 GiB of ids");
        self.items.push(Item { id_end, reading });
    }

    /// Returns the number of readings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Returns whether there is no reading.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Forgets the readings and keeps the room they had.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.items.clear();
    }

    /// The sensor of the reading at `index`.
    pub(crate) fn sensor(&self, index: usize) -> SensorId<'_> {
        let start = index.checked_sub(1).map_or(0, |before| self.items[before].id_end as usize);
        SensorId::checked(&self.ids[start..self.items[index].id_end as usize])
    }

    /// The reading at `index`.
    pub(crate) fn reading(&self, index: usize) -> &Reading {
        &self.items[index].reading
    }

    /// Returns the readings with their sensors, in order of arrival.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SensorId<'_>, Reading)> {
        let mut start = 0;
        self.items.iter().map(move |item| {
            let end = item.id_end as usize;
            let id = SensorId::checked(&self.ids[start..end]);
            start = end;
            (id, item.reading)
        })
    }
}
