//! Tests of the repository itself, in the manner of the Rust compiler's `tidy`: `cargo test -p kelvin-tidy`.
//!
//! | rule | where |
//! |---|---|
//! | none of the words in `words.txt` | [`words`] |
//! | relative links in Markdown lead to a file, and to a heading of it | [`links`] |
//! | no import cycle between the files or folders of a crate | [`cycles`] |
//! | pages name only targets of `make` that exist | [`make_targets`] |
//! | a runbook per alert and an alert per runbook | [`runbooks`] |
//! | names of tests begin with their subject | [`test_names`] |
//! | the repository has the same owner in all addresses | [`addresses`] |

pub mod addresses;
pub mod cycles;
mod files;
mod lexer;
pub mod links;
pub mod make_targets;
mod markdown;
pub mod runbooks;
pub mod test_names;
pub mod words;

pub use files::{File, repository};
