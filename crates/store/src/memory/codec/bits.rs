//! A stream of bits in 64-bit words, least significant bit first.

/// Appends to a stream. The last word of an unfinished stream is held here and written back by
/// [`finish`](Self::finish), so that a frame touches memory once a word.
pub(in crate::memory) struct BitWriter<'a> {
    words: &'a mut Vec<u64>,
    partial: u64,
    used: u32,
}

impl<'a> BitWriter<'a> {
    /// Continues a stream of `length` bits.
    pub(in crate::memory) fn new(words: &'a mut Vec<u64>, length: u32) -> Self {
        let used = length % u64::BITS;
        let partial = if used == 0 { 0 } else { words.pop().unwrap_or(0) };
        Self { words, partial, used }
    }

    /// Appends the lowest `count` bits; those above must be zero.
    #[inline]
    pub(in crate::memory) fn put(&mut self, bits: u64, count: u32) {
        self.partial |= bits << self.used;
        self.used += count;
        if self.used >= u64::BITS {
            self.push();
            self.used -= u64::BITS;
            // What did not fit. All of it did if nothing is left over.
            self.partial = if self.used == 0 { 0 } else { bits >> (count - self.used) };
        }
    }

    /// Writes the last word back and returns the length of the stream in bits.
    pub(in crate::memory) fn finish(mut self) -> u32 {
        let whole = u32::try_from(self.words.len()).expect("a block is small") * u64::BITS;
        if self.used > 0 {
            self.push();
        }
        whole + self.used
    }

    /// Doubles up to 32 words, which a block of a steady sensor fills, and then grows by halves. Smaller steps take more
    /// memory, not less: most sensors outgrow a size at about the same time, and the few that have not hold the
    /// allocator's pages of that size. By quarters, a million sensors took a fifth more.
    #[inline]
    fn push(&mut self) {
        let words = self.words.len();
        if words == self.words.capacity() {
            self.words.reserve_exact(if words < 32 { words.max(8) } else { words / 2 });
        }
        self.words.push(self.partial);
    }
}

/// Reads a stream from its beginning. Behind the end there are zeros.
#[derive(Debug)]
pub(in crate::memory) struct BitReader<'a> {
    rest: std::slice::Iter<'a, u64>,
    current: u64,
    next: u64,
    offset: u32,
}

impl<'a> BitReader<'a> {
    pub(in crate::memory) fn new(words: &'a [u64]) -> Self {
        let mut rest = words.iter();
        let mut word = || rest.next().copied().unwrap_or(0);
        let (current, next) = (word(), word());
        Self { rest, current, next, offset: 0 }
    }

    /// Returns a reader that begins after `bits` bits.
    pub(in crate::memory) fn after(words: &'a [u64], bits: u32) -> Self {
        let whole = (bits / u64::BITS) as usize;
        Self { offset: bits % u64::BITS, ..Self::new(words.get(whole..).unwrap_or_default()) }
    }

    /// The next 64 bits.
    #[inline]
    pub(in crate::memory) fn peek(&self) -> u64 {
        // Two shifts, because one by 64 is not allowed where the offset is 0.
        (self.current >> self.offset) | ((self.next << 1) << (u64::BITS - 1 - self.offset))
    }

    /// Moves on by up to 64 bits.
    #[inline]
    pub(in crate::memory) fn skip(&mut self, count: u32) {
        self.offset += count;
        if self.offset >= u64::BITS {
            self.offset -= u64::BITS;
            self.current = self.next;
            self.next = self.rest.next().copied().unwrap_or(0);
        }
    }

    /// Takes up to 64 bits.
    #[inline]
    pub(in crate::memory) fn take(&mut self, count: u32) -> u64 {
        let bits = self.peek() & low_bits(count);
        self.skip(count);
        bits
    }

    /// Takes a number of up to 32 bits.
    #[inline]
    pub(in crate::memory) fn take_number(&mut self, count: u32) -> u32 {
        u32::try_from(self.take(count)).expect("a number of a frame has few bits")
    }
}

/// A word whose lowest `count` bits are set.
#[inline]
pub(in crate::memory) fn low_bits(count: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - count).unwrap_or(0)
}
