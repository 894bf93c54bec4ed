use tonic::Status;

/// The reason why a stream cannot be read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The compressed flag in a call that names no encoding.
    Compressed,
    TooLong {
        length: usize,
        limit: usize,
    },
    /// Longer than this when decompressed.
    InflatesBeyond(usize),
    NotGzip,
    Flag(u8),
}

impl From<FrameError> for Status {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Compressed => {
                Self::internal("a message has the compressed flag, but the call has no grpc-encoding")
            }
            FrameError::InflatesBeyond(limit) => Self::resource_exhausted(format!(
                "a decompressed message is longer than the limit of {limit} bytes"
            )),
            FrameError::NotGzip => Self::internal("a message cannot be decompressed: it is not valid gzip"),
            FrameError::TooLong { length, limit } => Self::resource_exhausted(format!(
                "a message of {length} bytes is longer than the limit of {limit}"
            )),
            FrameError::Flag(flag) => Self::internal(format!("invalid compression flag {flag}")),
        }
    }
}
