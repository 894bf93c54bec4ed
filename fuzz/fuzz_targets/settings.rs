//! No value of a setting makes the server panic, and every accepted duration and size can be added to a clock.
//!
//! Each line is the number of a setting, as one byte, and its value.

#![no_main]

use kelvin_server::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    let least = [("KELVIN_TLS_CERT", "c"), ("KELVIN_TLS_KEY", "k"), ("KELVIN_TOKEN_FILE", "t")];
    let pairs = input.lines().filter_map(|line| {
        let (number, value) = line.split_at_checked(1)?;
        Some((Config::SETTINGS.get(usize::from(number.as_bytes()[0].checked_sub(b' ')?))?.variable, value))
    });
    match Config::from_pairs(least.into_iter().chain(pairs)) {
        Ok(config) => kelvin_server::fuzz::use_settings(&config),
        Err(error) => assert!(error.to_string().contains("KELVIN_")),
    }
});
