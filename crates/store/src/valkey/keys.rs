/// Hash slots of a cluster.
pub(super) const SLOTS: u16 = 16384;

/// The names of everything Kelvin keeps. Sensors are hashed into a fixed number of partitions; a partition's tag is
/// the hash tag of all its keys, so that one script call can touch them all.
#[derive(Debug)]
pub(super) struct Keys {
    partitions: Vec<Partition>,
}

/// The keys of a partition.
#[derive(Debug)]
pub(super) struct Partition {
    /// Where a cluster keeps it.
    pub(super) slot: u16,
    base: String,
}

impl Keys {
    pub(super) fn new(prefix: &str, partitions: u16) -> Self {
        let partitions = (0..partitions)
            .map(|number| {
                let tag = tag(number, partitions);
                Partition { slot: slot(&tag), base: format!("{prefix}:{{{tag}}}:") }
            })
            .collect();
        Self { partitions }
    }

    /// Returns the partition of a sensor. Must not change between releases: it determines where the data is.
    pub(super) fn number_of(&self, sensor_id: &str) -> usize {
        usize::from(crc16(sensor_id.as_bytes())) % self.partitions.len()
    }

    pub(super) fn of(&self, sensor_id: &str) -> &Partition {
        &self.partitions[self.number_of(sensor_id)]
    }

    pub(super) fn all(&self) -> &[Partition] {
        &self.partitions
    }
}

impl Partition {
    /// Hash: sensor → packed statistics, and the partition's totals. Also the channel on which changed sensors are named.
    pub(super) fn statistics(&self) -> String {
        format!("{}s", self.base)
    }

    /// Sorted set: sensor → when it was last seen, at most a sixteenth of the idle time behind.
    pub(super) fn index(&self) -> String {
        format!("{}i", self.base)
    }

    /// Sorted set of the sensors by name.
    pub(super) fn names(&self) -> String {
        format!("{}n", self.base)
    }

    /// Stream of packed batches.
    pub(super) fn stream(&self, sensor_id: &str) -> String {
        format!("{}d:{sensor_id}", self.base)
    }

    /// The length of a stream's name before the sensor.
    pub(super) fn stream_prefix(&self) -> usize {
        self.base.len() + 2
    }

    /// Another string of the partition.
    pub(super) fn other(&self, name: &str) -> String {
        format!("{}{name}", self.base)
    }
}

/// A tag whose slot lies in the partition's share of all slots, so that nodes which own equal ranges get equally many
/// partitions.
fn tag(number: u16, partitions: u16) -> String {
    let share = |slot: u16| u32::from(slot) * u32::from(partitions) / u32::from(SLOTS);
    let tags = (0_u32..).map(|salt| format!("{number:x}.{salt:x}"));
    tags.into_iter()
        .find(|tag| share(slot(tag)) == u32::from(number))
        .expect("some tag falls into each share")
}

/// The slot of a key without braces, or of a tag.
pub(super) fn slot(tag: &str) -> u16 {
    crc16(tag.as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, by which a cluster hashes keys (Valkey cluster specification, appendix A).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| crc << 8 ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The checksum of each byte alone.
const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let (mut crc, mut bit) = (byte << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte as usize] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::{Keys, SLOTS, crc16};

    #[test]
    fn crc16_check_value_is_the_specified_one() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn partitions_divide_slots_evenly() {
        let keys = Keys::new("kelvin", 64);
        for (number, partition) in (0..).zip(keys.all()) {
            assert_eq!(partition.slot / (SLOTS / 64), number);
            assert!(partition.stream("{a}").starts_with("kelvin:{"), "the first braces enclose the tag");
        }
    }
}
