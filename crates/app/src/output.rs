//! Standard output and standard error without a panic: `println!` panics on a closed pipe and on a full disk.

use std::io::{self, ErrorKind, Write as _};

/// Writes `text` to standard output. A closed pipe is no error: its reader has all it wants, as in `… | head -1`.
///
/// # Errors
/// What the system reports, such as a full disk.
pub fn print(text: &str) -> io::Result<()> {
    match try_print(text) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// Writes `text` to standard output for a program that would go on: it ends when nobody reads its output.
///
/// # Errors
/// What the system reports, a closed pipe included.
pub fn try_print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes a line to standard error, if anybody reads it.
pub fn report(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
