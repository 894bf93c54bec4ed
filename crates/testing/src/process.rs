use std::{
    ops::{Deref, DerefMut},
    process::{Child, Command},
};

/// A child process that is killed and waited for when dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Takes over a process that was started.
    #[must_use]
    pub fn new(child: Child) -> Self {
        Self(child)
    }

    /// Sends a signal by its name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        send_signal(self.id(), name);
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.kill();
        let _ = self.wait();
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

    #[test]
    fn signal_is_sent_by_name() {
        let mut process = sleep();
        process.signal("TERM");
        assert_eq!(process.wait().unwrap().signal(), Some(15));
    }
}
