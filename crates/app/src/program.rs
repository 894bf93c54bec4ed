//! What `main` does in every binary: arguments, settings, a runtime, the exit code.

use std::{env, error::Error, process::ExitCode};

use crate::{
    output::{print, report},
    settings::{Settings, SettingsError, help},
};

/// Wrong settings or arguments (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Whatever ends a program.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A command that a program takes besides its main work, such as `healthcheck`.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// The word on the command line.
    pub name: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
}

/// A program that is configured entirely by environment variables.
///
/// ```no_run
/// # kelvin_app::settings! { /// Settings.
/// # pub struct Config { /// A word.
/// # pub word: String = "kelvin", } }
/// # use kelvin_app::{Command, Program};
/// const PROGRAM: Program = Program {
///     name: "kelvin-echo",
///     version: env!("CARGO_PKG_VERSION"),
///     about: "Says a word.",
///     commands: &[Command { name: "healthcheck", about: "Says whether the running program is well." }],
/// };
///
/// fn main() -> std::process::ExitCode {
///     PROGRAM.main(async |config: Config, command| match command {
///         Some("healthcheck") => Ok(()),
///         _ => Err(config.word.into()),
///     })
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name, as it is called.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// Commands besides the main work.
    pub commands: &'static [Command],
}

/// Turns transparent huge pages off for this process. Allocators ask for these pages of 2 MiB, and every thread and size of
/// objects touches some: an idle server took 36 MiB with them and 18 without. A kernel that does not know the request has
/// none to give.
pub fn disable_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

impl Program {
    /// Reads arguments and settings, then runs `run` with the settings and the command, if one was given,
    /// on a current-thread runtime. An error is printed with its sources and decides the exit code.
    pub fn main<S: Settings>(
        &self,
        run: impl AsyncFnOnce(S, Option<&'static str>) -> Result<(), BoxError>,
    ) -> ExitCode {
        disable_huge_pages();
        match self.start(run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                report(&format!("{}: {}", self.name, error_chain(&*error)));
                exit_code(&*error).into()
            }
        }
    }

    fn start<S: Settings>(
        &self,
        run: impl AsyncFnOnce(S, Option<&'static str>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let command = match self
            .arguments(env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()))?
        {
            Arguments::Help => return Ok(print(&self.help(S::SETTINGS))?),
            Arguments::Version => return Ok(print(&format!("{} {}\n", self.name, self.version))?),
            Arguments::Run(command) => command,
        };
        let settings = S::from_env()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let result = runtime.block_on(run(settings, command));
        // A blocking task that hangs must not keep the process.
        runtime.shutdown_background();
        result
    }

    fn arguments(&self, mut arguments: impl Iterator<Item = String>) -> Result<Arguments, UsageError> {
        let Some(first) = arguments.next() else { return Ok(Arguments::Run(None)) };
        if let Some(other) = arguments.next() {
            return Err(unexpected(&other));
        }
        match first.as_str() {
            "-h" | "--help" | "help" => Ok(Arguments::Help),
            "-V" | "--version" => Ok(Arguments::Version),
            word => match self.commands.iter().find(|command| command.name == word) {
                Some(command) => Ok(Arguments::Run(Some(command.name))),
                None => Err(unexpected(word)),
            },
        }
    }

    fn help(&self, settings: &[crate::Setting]) -> String {
        let Self { name, version, about, commands } = self;
        let usage = if commands.is_empty() { "" } else { " [COMMAND]" };
        let mut text = format!("{name} {version}\n{about}\n\nUsage: {name}{usage} [--help | --version]\n");
        if !commands.is_empty() {
            text += "\nCommands:\n";
            text.extend(
                commands.iter().map(|Command { name, about }| format!("  {name}\n        {about}\n")),
            );
        }
        text + "\nSettings are environment variables, here with their defaults:\n" + &help(settings)
    }
}

enum Arguments {
    Help,
    Version,
    Run(Option<&'static str>),
}

fn unexpected(argument: &str) -> UsageError {
    UsageError(format!("unexpected argument {argument:?}"))
}

/// Wrong arguments. Programs end with [`EXIT_USAGE`] on it.
#[derive(Debug, thiserror::Error)]
#[error("{0} (see --help)")]
pub struct UsageError(pub String);

/// Returns the exit code for `error`: [`EXIT_USAGE`] where it or one of its sources is about settings or arguments,
/// else 1.
#[must_use]
pub fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    if chain(error).any(|error| error.is::<SettingsError>() || error.is::<UsageError>()) {
        EXIT_USAGE
    } else {
        1
    }
}

/// Returns the error and its sources in one line, the cause last. What an error already says of its source is not said
/// twice.
#[must_use]
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for message in chain(error).map(ToString::to_string) {
        if text.is_empty() {
            text = message;
        } else if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
    }
    text
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::disable_huge_pages;

    #[test]
    fn pages_stay_small() {
        disable_huge_pages();
        assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap());
    }
}
