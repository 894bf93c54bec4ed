//! Kelvin on one machine: demo, certificates, load.

#![deny(clippy::print_stdout, clippy::print_stderr)] // they panic on closed pipes and full disks

mod certs;
mod demo;
mod duration;
mod load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use kelvin_app::{BoxError, EXIT_USAGE, error_chain, exit_code, print, report};

/// Runs a demo on this machine, creates test certificates, and load-tests a server.
#[derive(Parser)]
#[command(name = "kelvin", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Arguments),
    Certs(certs::Arguments),
    Load(Box<load::Arguments>),
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                report(error.render().to_string().trim_end());
                return EXIT_USAGE.into();
            }
            return finish(print(&error.render().to_string()).map_err(BoxError::from));
        }
    };
    finish(run(cli.command))
}

/// Prints the error, if there is one, and returns the exit code.
fn finish(result: Result<(), BoxError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("kelvin: {}", error_chain(&*error)));
            exit_code(&*error).into()
        }
    }
}

fn run(command: Command) -> Result<(), BoxError> {
    match command {
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Certs(arguments) => certs::run(&arguments),
        Command::Load(arguments) => load::run(&arguments),
    }
}
