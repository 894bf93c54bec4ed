use std::io::{self, BufRead as _, BufReader, Read};

/// The lines that a process prints, read as they come.
#[derive(Debug)]
pub struct Lines<R>(io::Lines<BufReader<R>>);

impl<R: Read> Lines<R> {
    /// Reads from a pipe, such as [`ChildStderr`](std::process::ChildStderr).
    pub fn new(pipe: R) -> Self {
        Self(BufReader::new(pipe).lines())
    }

    /// Reads up to a line that contains `text`, and returns what was read, that line included.
    ///
    /// # Panics
    ///
    /// If the output ends before.
    pub fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        loop {
            let line = self.next().unwrap_or_else(|| panic!("no {text:?} in {read}"));
            read += &line;
            read.push('\n');
            if line.contains(text) {
                return read;
            }
        }
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        Some(self.0.next()?.expect("the output is UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    const OUTPUT: &[u8] = b"starting\nserving at port 1\ndone\n";

    #[test]
    fn output_is_read_up_to_the_text() {
        let mut lines = Lines::new(OUTPUT);
        assert_eq!(lines.until("serving"), "starting\nserving at port 1\n");
        assert_eq!(lines.next().as_deref(), Some("done"));
        assert_eq!(lines.next(), None);
    }

    #[test]
    #[should_panic(expected = "no \"failed\" in starting\nserving at port 1\ndone\n")]
    fn output_without_the_text_panics() {
        Lines::new(OUTPUT).until("failed");
    }
}
