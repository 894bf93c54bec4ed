//! Which values of `authorization` are accepted.

use std::{io::Write, sync::Arc};

use kelvin_credentials::{TlsError, Tokens};
use proptest::prelude::*;

fn tokens(content: &str) -> Result<Arc<Tokens>, TlsError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    Tokens::load(file.path())
}

#[test]
fn bare_and_bearer_are_one_on_both_sides() {
    let tokens = tokens("# for sensors\n\nalpha\r\n  Bearer beta  \n").unwrap();
    for value in ["alpha", "Bearer alpha", "bearer  alpha", " alpha ", "beta", "Bearer beta", "BEARER beta"] {
        assert!(tokens.accepts(value.as_bytes()), "{value:?}");
    }
    for value in
        ["", "Bearer", "Bearer ", "# for sensors", "alph", "alphaa", "Alpha", "Basic alpha", "alpha beta"]
    {
        assert!(!tokens.accepts(value.as_bytes()), "{value:?}");
    }
}

#[test]
fn a_client_sends_the_first_as_it_stands() {
    assert_eq!(tokens("\n# mine\n Bearer beta\nalpha\n").unwrap().first(), "Bearer beta");
    assert_eq!(tokens("alpha").unwrap().first(), "alpha");
}

#[test]
fn a_file_without_a_usable_token_is_refused_without_quoting_it() {
    for content in ["", "\n\n# nothing\n", "s\u{e9}same-open", "sesame-open\u{7f}"] {
        let error = tokens(content).unwrap_err().to_string();
        assert!(error.contains("holds") && !error.contains("same-open"), "{error}");
    }
    assert!(!format!("{:?}", tokens("hush").unwrap()).contains("hush"));
}

proptest! {
    #[test]
    fn any_value_is_judged_by_its_token(
        mine in "[!-\"$-~]{1,40}",
        other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let tokens = tokens(&mine).unwrap();
        prop_assert!(tokens.accepts(mine.as_bytes()));
        prop_assert!(tokens.accepts(&[b"Bearer ", mine.as_bytes()].concat()));
        if !other.windows(mine.len()).any(|part| part == mine.as_bytes()) {
            prop_assert!(!tokens.accepts(&other));
        }
    }
}
