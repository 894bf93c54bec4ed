use std::{
    io,
    ops::{Deref, DerefMut},
    process::{Child, ChildStdout, Command, ExitStatus, Output},
};

use crate::{Lines, eventually_some};

/// A child process that is killed and waited for when dropped.
#[derive(Debug)]
pub struct Process(Option<Child>);

impl Process {
    /// Takes over a process that was started.
    #[must_use]
    pub fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// Sends a signal by its name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        send_signal(self.id(), name);
    }

    /// Takes the standard output, which must be a pipe, to read it line by line.
    ///
    /// # Panics
    ///
    /// If it is no pipe or was taken before.
    pub fn lines(&mut self) -> Lines<ChildStdout> {
        Lines::new(self.stdout.take().expect("the standard output is a pipe"))
    }

    /// Waits until the process has ended.
    ///
    /// # Panics
    ///
    /// After 30 seconds.
    pub async fn exit_status(&mut self) -> ExitStatus {
        eventually_some("the process ends", async || self.try_wait().expect("it can be waited for")).await
    }

    /// Waits until the process has ended, and returns what is left in its pipes, like [`Child::wait_with_output`].
    ///
    /// # Errors
    ///
    /// If the pipes cannot be read.
    pub fn wait_with_output(mut self) -> io::Result<Output> {
        self.0.take().expect(UNTIL_TAKEN).wait_with_output()
    }
}

const UNTIL_TAKEN: &str = "only `wait_with_output` takes it";

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().expect(UNTIL_TAKEN)
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().expect(UNTIL_TAKEN)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Sends a signal to a process by the signal's name, such as `TERM`.
pub fn send_signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status().expect("kill runs");
    assert!(sent.success(), "{name} cannot be sent to process {process}");
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
    };

    use super::Process;

    fn sleep() -> Process {
        Process::new(Command::new("sleep").arg("60").spawn().unwrap())
    }

    #[test]
    fn dropped_process_is_killed_and_waited_for() {
        let process = sleep();
        let id = process.id().to_string();
        // Signal 0 reaches every process that has not been waited for, zombies included.
        let exists = || {
            let probe = Command::new("kill").args(["-0", &id]).stderr(Stdio::null()).status();
            probe.unwrap().success()
        };
        assert!(exists());
        drop(process);
        assert!(!exists());
    }

    #[tokio::test]
    async fn signal_is_sent_by_name() {
        let mut process = sleep();
        process.signal("TERM");
        assert_eq!(process.exit_status().await.signal(), Some(15));
    }

    #[test]
    fn output_is_read_by_line_and_to_its_end() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; echo two; echo three >&2; exit 4"]);
        let mut process = Process::new(shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        assert_eq!(process.lines().collect::<Vec<_>>(), ["one", "two"]);
        let output = process.wait_with_output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(4), &b"three\n"[..]));
    }
}
