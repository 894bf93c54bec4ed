//! Which values of `authorization` are accepted, and from whom.

use std::{io::Write, sync::Arc};

use kelvin_credentials::{TlsError, TokenError, Tokens};
use proptest::prelude::*;

fn tokens(content: &str) -> Result<Arc<Tokens>, TlsError> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(content.as_bytes()).unwrap();
    Tokens::load(file.path())
}

#[test]
fn bare_and_bearer_forms_are_equivalent() {
    let tokens = tokens("# for sensors\n\n  # indented\n \t\nalpha\r\nBearer beta  \n").unwrap();
    for value in ["alpha", "Bearer alpha", "bearer  alpha", " alpha ", "beta", "Bearer beta", "BEARER beta"] {
        assert!(tokens.authenticate(value.as_bytes()).is_ok(), "{value:?}");
    }
    for value in ["", "Bearer", "Bearer ", "alph", "alphaa", "Alpha"] {
        assert_eq!(tokens.authenticate(value.as_bytes()).unwrap_err(), TokenError::Unknown, "{value:?}");
    }
    for value in ["# for sensors", "Basic alpha", "alpha beta", "Bearer alpha beta"] {
        assert_eq!(
            tokens.authenticate(value.as_bytes()).unwrap_err(),
            TokenError::ContainsSpace,
            "{value:?}"
        );
    }
}

#[test]
fn name_beside_a_token_is_its_callers() {
    let tokens = tokens("\u{feff}alpha\tboiler-room\nBearer beta  roof\nbearer gamma\t\r").unwrap();
    for (value, name) in [("alpha", Some("boiler-room")), ("Bearer beta", Some("roof")), ("gamma", None)] {
        let caller = tokens.authenticate(value.as_bytes()).unwrap();
        assert_eq!(caller.name().map(AsRef::as_ref), name);
    }
    let caller = format!("{:?}", tokens.authenticate(b"alpha").unwrap());
    assert!(caller.contains("boiler-room") && !caller.contains("alpha"), "{caller}");
    assert_eq!(tokens.authenticate(b"roof").unwrap_err(), TokenError::Unknown);
}

#[test]
fn client_sends_the_first_token_without_its_name() {
    assert_eq!(tokens("\n# mine\nBearer beta\nalpha\n").unwrap().first(), "Bearer beta");
    assert_eq!(tokens("alpha").unwrap().first(), "alpha");
    assert_eq!(tokens("alpha \t boiler-room\nbeta").unwrap().first(), "alpha");
    assert_eq!(tokens("Bearer B boiler-room").unwrap().first(), "Bearer B");
}

#[test]
fn unusable_file_is_rejected_without_quoting_it() {
    for (content, reason) in [
        ("", "contains no token"),
        ("\n\n# nothing\n", "contains no token"),
        ("s\u{e9}same-open", "line 1: a token contains characters other than visible ASCII"),
        ("fine\nsesame-open\u{7f}", "line 2: a token contains characters other than visible ASCII"),
        ("Bearer ", "line 1: no token after `Bearer`"),
        ("fine\nbearer", "line 2: no token after `Bearer`"),
        ("sesame-open big door", "line 1: a token must not contain a space"),
        (" sesame-open", "line 1: white space before the token"),
        ("fine\n\tsesame-open", "line 2: white space before the token"),
        ("Bearer  sesame-open", "line 1: not exactly one space after `Bearer`"),
        ("bearer\tsesame-open", "line 1: not exactly one space after `Bearer`"),
        ("Bearer \tsesame-open", "line 1: not exactly one space after `Bearer`"),
        ("fine\nBearer Bearer sesame-open", "line 2: expected a token, found another word"),
        ("BASIC sesame-open", "line 1: expected a token, found another word"),
        ("null sesame-open", "line 1: expected a token, found another word"),
        ("token: sesame-open", "line 1: expected a token, found another word"),
        ("Authorization: Bearer sesame-open", "line 1: expected a token, found another word"),
        ("Bearer authorization: sesame-open", "line 1: expected a token, found another word"),
        ("${TOKEN} sesame-open", "line 1: a placeholder of a template"),
        ("Bearer sesame-open-$(TOKEN)", "line 1: a placeholder of a template"),
        ("{{ .Values.token }} sesame-open", "line 1: a placeholder of a template"),
        ("<no value>", "line 1: a placeholder of a template"),
        ("\"\" sesame-open", "line 1: a token without letters or digits"),
        ("- sesame-open", "line 1: a token without letters or digits"),
        (
            "sesame-open door\nsesame-open window",
            "line 2: the token repeats that of an earlier line under a different name",
        ),
    ] {
        let error = tokens(content).unwrap_err().to_string();
        assert!(error.contains(reason) && !error.contains("same-open"), "{error} should contain {reason}");
    }
    assert!(!format!("{:?}", tokens("hush").unwrap()).contains("hush"));
}

#[test]
fn repeated_line_is_accepted() {
    assert!(tokens("alpha door\nalpha door\n").unwrap().authenticate(b"alpha").is_ok());
}

proptest! {
    #[test]
    fn any_value_is_judged_by_its_token(
        mine in "[!-\"$-~]{1,40}",
        other in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        // Not what a template leaves where a token should be.
        prop_assume!(mine.starts_with(|first: char| first.is_ascii_alphanumeric()) && !mine.ends_with(':'));
        prop_assume!(!["bearer", "basic", "null"].iter().any(|word| mine.eq_ignore_ascii_case(word)));
        prop_assume!(!["${", "$(", "{{"].iter().any(|placeholder| mine.contains(placeholder)));
        let tokens = tokens(&mine).unwrap();
        prop_assert!(tokens.authenticate(mine.as_bytes()).is_ok());
        prop_assert!(tokens.authenticate(&[b"Bearer ", mine.as_bytes()].concat()).is_ok());
        if !other.windows(mine.len()).any(|part| part == mine.as_bytes()) {
            prop_assert!(tokens.authenticate(&other).is_err());
        }
    }
}
