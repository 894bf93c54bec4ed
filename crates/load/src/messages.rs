use kelvin_proto::frame::PREFIX;
use tonic::Status;

/// Finds the messages of a gRPC stream that arrives in pieces of any size.
#[derive(Default)]
pub(crate) struct Messages {
    /// The beginning of a message whose end has not arrived.
    partial: Vec<u8>,
}

impl Messages {
    /// Takes the next piece and passes each message that it completes to `each`.
    pub(crate) fn feed(&mut self, mut piece: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Status> {
        while !self.partial.is_empty() && !piece.is_empty() {
            let wanted = match self.partial.first_chunk() {
                None => PREFIX,
                Some(prefix) => PREFIX + length(*prefix)?,
            };
            let (now, rest) = piece.split_at((wanted - self.partial.len()).min(piece.len()));
            self.partial.extend_from_slice(now);
            piece = rest;
            if let Some((message, _)) = split(&self.partial)? {
                each(message);
                self.partial.clear();
            }
        }
        while let Some((message, rest)) = split(piece)? {
            each(message);
            piece = rest;
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }

    /// Returns an error if the stream ended in the middle of a message.
    pub(crate) fn end(&self) -> Result<(), Status> {
        if self.partial.is_empty() {
            return Ok(());
        }
        Err(Status::internal("the stream ended in the middle of a message"))
    }
}

/// The first message and what follows.
type Split<'a> = (&'a [u8], &'a [u8]);

/// Splits off the first message. `None` while it is incomplete.
fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, Status> {
    let Some((prefix, rest)) = bytes.split_first_chunk() else { return Ok(None) };
    Ok(rest.split_at_checked(length(*prefix)?))
}

fn length([compressed, length @ ..]: [u8; PREFIX]) -> Result<usize, Status> {
    if compressed != 0 {
        return Err(Status::internal("unexpected compressed message: compression was not requested"));
    }
    Ok(u32::from_be_bytes(length) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            messages in vec(vec(any::<u8>(), 0..40), 0..20),
            cuts in vec(1_usize..50, 1..100),
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                stream.push(0);
                stream.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
                stream.extend(message);
            }
            let (mut found, mut finder, mut left) = (Vec::new(), Messages::default(), stream.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, rest) = left.split_at((*cut).min(left.len()));
                finder.feed(piece, |message| found.push(message.to_vec())).unwrap();
                left = rest;
                if left.is_empty() {
                    break;
                }
            }
            finder.end().unwrap();
            prop_assert_eq!(found, messages);
        }
    }

    #[test]
    fn half_a_message_at_the_end_is_an_error() {
        let mut finder = Messages::default();
        finder.feed(&[0, 0, 0, 0, 2, 1], |_| panic!("not whole")).unwrap();
        assert_eq!(finder.end().unwrap_err().code(), tonic::Code::Internal);
    }

    #[test]
    fn compressed_message_is_an_error() {
        let answer = Messages::default().feed(&[1, 0, 0, 0, 0], |_| panic!("not readable"));
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Internal);
    }
}
