//! Finds the words of `words.txt` in the paths and texts of files.

use std::iter;

use crate::File;

/// The list of this repository.
pub const LIST: &str = include_str!("../words.txt");

/// The list itself, texts of others, and what a test below makes wrong on purpose.
const NOT_OURS: [&str; 5] =
    ["Cargo.lock", "LICENSE", "crates/tidy/", "crates/grpc-otel/LICENSE", ".gitignore"];

/// A word or phrase to avoid.
#[derive(Debug)]
pub struct Rule<'a> {
    phrase: Vec<&'a str>,
    instead: &'a str,
    allowed: Vec<&'a str>,
}

/// Parses the list; the error is a line that is no rule.
pub fn parse(list: &str) -> Result<Vec<Rule<'_>>, &str> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let rule = |line| {
        let (phrase, rest) = str::split_once(line, " -> ").ok_or(line)?;
        let (instead, allowed) = rest.split_once("; not in ").unwrap_or((rest, ""));
        let allowed = allowed.split(':').next().unwrap_or_default().split(", ");
        Ok(Rule {
            phrase: phrase.split(' ').collect(),
            instead,
            allowed: allowed.filter(|path| !path.is_empty()).collect(),
        })
    };
    lines.map(rule).collect()
}

/// Describes every place where a rule is broken.
#[must_use]
pub fn check(rules: &[Rule<'_>], files: &[File]) -> Vec<String> {
    let mut found = Vec::new();
    for File { path, text } in
        files.iter().filter(|file| !NOT_OURS.iter().any(|of| file.path.starts_with(of)))
    {
        let rules: Vec<_> = rules
            .iter()
            .filter(|rule| !rule.allowed.iter().any(|allowed| path.starts_with(allowed)))
            .collect();
        let lines = (1..).zip(text.lines()).map(|(number, line)| (format!("{path}:{number}"), line));
        for (place, line) in iter::once((path.clone(), path.as_str())).chain(lines) {
            let words = split(line);
            for rule in &rules {
                if words.windows(rule.phrase.len()).any(|words| words == rule.phrase) {
                    let (phrase, instead) = (rule.phrase.join(" "), rule.instead);
                    found.push(format!("{place}: `{phrase}`; write: {instead}\n    {}", line.trim()));
                }
            }
        }
    }
    found
}

/// The words of a line in lower case. `HTTPServer_idle` has three.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let letters: Vec<char> = line.chars().collect();
    for (at, &letter) in letters.iter().enumerate() {
        let next_is_lower = letters.get(at + 1).is_some_and(|next| next.is_lowercase());
        let after_lower = at > 0 && !letters[at - 1].is_uppercase();
        if !letter.is_alphabetic() || letter.is_uppercase() && (after_lower || next_is_lower) {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            words.last_mut().expect("there is one").extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let file = File::new(path, text);
        let rules =
            parse("gate -> barrier\nfor ever -> without limit; not in old/: kept").expect("both are rules");
        check(&rules, &[file])
    }

    #[test]
    fn listed_word_in_identifier_string_and_prose_is_found() {
        for text in
            ["OpenGate", "gate_is_open", "HTTPGate", "\"the gate\"", "A Gate.", "keep for ever", "for_ever"]
        {
            assert_eq!(found("src/a.rs", text).len(), 1, "{text}");
        }
        assert!(found("src/a.rs", "let a;\nlet gate;")[0].starts_with("src/a.rs:2: `gate`; write: barrier"));
    }

    #[test]
    fn listed_word_in_path_is_found() {
        for path in ["src/gate.rs", "docs/open-gate/a.md", "src/for_ever.rs"] {
            let found = found(path, "");
            assert!(found.len() == 1 && found[0].starts_with(&format!("{path}: `")), "{found:?}");
        }
        assert_eq!(found("old/for_ever.rs", ""), [""; 0]);
    }

    #[test]
    fn part_of_a_word_and_allowed_path_are_not_found() {
        for text in ["aggregate", "GATEWAY", "gates", "for every"] {
            assert_eq!(found("src/a.rs", text), [""; 0], "{text}");
        }
        assert_eq!(found("old/a.rs", "for ever"), [""; 0]);
    }

    #[test]
    fn line_without_replacement_is_rejected() {
        assert_eq!(parse("gate barrier").err(), Some("gate barrier"));
    }
}
