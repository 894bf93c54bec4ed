//! A whole program: settings, `--help`, a command, shutdown by signal.

use std::{process::ExitCode, time::Duration};

use kelvin_app::{Command, Program, settings::Reader, signal};

kelvin_app::settings! {
    /// The settings of this program.
    pub struct Config {
        /// What it says when it starts.
        pub word: String = "ready",
        /// How long it takes to end.
        pub drain: Duration = "0s",
        /// How long it may take to end.
        pub drain_limit: Duration = "1h",
    }
    check = check;
}

fn check(config: &Config, reader: &mut Reader) {
    if config.drain > config.drain_limit {
        reader.error().push("KELVIN_DRAIN", "is over KELVIN_DRAIN_LIMIT");
    }
}

const PROGRAM: Program = Program {
    name: "program",
    version: env!("CARGO_PKG_VERSION"),
    about: "Prints a word and waits for SIGTERM.",
    commands: &[Command { name: "fail", about: "Ends with an error." }],
};

fn main() -> ExitCode {
    PROGRAM.main(async |config: Config, command| {
        if command == Some("fail") {
            return Err("failed, as asked".into());
        }
        let shutdown = signal::shutdown();
        println!("{}", config.word);
        shutdown.await;
        println!("ending");
        // Blocks the runtime on purpose: a second signal must end the process all the same.
        std::thread::sleep(config.drain);
        Ok(())
    })
}
