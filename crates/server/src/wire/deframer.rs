use kelvin_proto::FrameError;

use super::encoding::{Encoding, GunzipError, gunzip};

/// Finds messages in the DATA frames of one request, and decompresses them.
#[derive(Debug)]
pub(crate) struct Deframer {
    frames: kelvin_proto::Deframer,
    limit: usize,
}

impl Deframer {
    /// `limit` is the length of the longest message allowed, in bytes, compressed or not.
    pub(crate) fn new(limit: usize, encoding: Encoding) -> Self {
        Self { frames: kelvin_proto::Deframer::new(limit, encoding == Encoding::Gzip), limit }
    }

    /// False when the stream ends here in the middle of a message.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.frames.is_between_messages()
    }

    /// Calls `each` with every message that `data` completes, until it fails.
    pub(crate) fn feed<E: From<FrameError> + From<GunzipError>>(
        &mut self,
        data: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { frames, limit } = self;
        frames.feed(
            data,
            |is_compressed, message| {
                if is_compressed { each(&gunzip(message, *limit)?) } else { each(message) }
            },
        )
    }
}
