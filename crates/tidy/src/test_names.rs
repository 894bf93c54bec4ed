//! Names of tests, which are `subject_condition_result`: `expired_certificate_is_rejected`.

use crate::File;

/// Beginnings of names that are sentences or riddles rather than subjects.
const STARTS: [&str; 6] = ["a_", "an_", "the_", "it_", "who_", "what_"];

/// Describes every function below `#[test]` or `#[tokio::test]`, in `proptest!` too, whose name begins so.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for File { path, text } in files.iter().filter(|file| file.has_extension("rs")) {
        let mut is_test = false;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            }
            let Some(name) = function(line) else { continue };
            if is_test && STARTS.iter().any(|start| name.starts_with(start)) {
                found.push(format!(
                    "{path}:{number}: `{name}`; name tests by the pattern subject_condition_result"
                ));
            }
            is_test = false;
        }
    }
    found
}

/// Returns the name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, name) = line.split_once("fn ")?;
    let is_qualifier = |word: &str| word == "async" || word.starts_with("pub") || word.starts_with("#[");
    before.split_whitespace().all(is_qualifier).then(|| name.split(['(', '<']).next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(&[File::new(path, text)])
    }

    #[test]
    fn name_without_subject_is_found() {
        for text in [
            "#[test]\nfn a_call_works() {}",
            "    #[test] fn an_error_exits_1() {}",
            "#[tokio::test(start_paused = true)]\n// Why.\n#[ignore]\nasync fn it_works() {}",
            "proptest! {\n    #[test]\n    fn what_is_sent_comes_back(sent in 0..9) {}\n}",
        ] {
            assert_eq!(found("src/a.rs", text).len(), 1, "{text}");
        }
        let place = found("tests/a.rs", "#[test]\nfn fits() {}\n\n#[test]\nfn who_calls() {}");
        assert_eq!(place, ["tests/a.rs:5: `who_calls`; name tests by the pattern subject_condition_result"]);
    }

    #[test]
    fn other_functions_and_files_are_not_found() {
        let text = "#[test]\nfn another_call_works() {}\n\nfn the_server() {}";
        assert_eq!(found("src/a.rs", text), [""; 0]);
        assert_eq!(found("a.md", "#[test]\nfn a_call_works() {}"), [""; 0]);
    }
}
