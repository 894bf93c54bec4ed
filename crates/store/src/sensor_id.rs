/// The id of a sensor: UTF-8 as bytes, because storing a reading hashes and compares ids and needs no characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SensorId<'a>(&'a [u8]);

impl<'a> SensorId<'a> {
    /// Checks an id that was received; `None` if it is not UTF-8.
    #[must_use]
    pub fn parse(id: &'a [u8]) -> Option<Self> {
        // ASCII, as most ids are, is found in a fraction of the instructions.
        (id.is_ascii() || str::from_utf8(id).is_ok()).then_some(Self(id))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the text. Checks it again, which costs about as much as storing a reading.
    #[must_use]
    pub fn as_str(self) -> &'a str {
        str::from_utf8(self.0).expect("a SensorId is UTF-8")
    }

    /// The part of a batch's ids that is one.
    pub(crate) fn checked(id: &'a [u8]) -> Self {
        Self(id)
    }
}

impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for SensorId<'a> {
    fn from(id: &'a T) -> Self {
        Self(id.as_ref().as_bytes())
    }
}
