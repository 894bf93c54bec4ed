//! As much of Rust's lexer as finding imports takes.

/// Identifiers, `::` and single other characters, without comments, literals, lifetimes and unit tests (from
/// `#[cfg(test)]` on an inline module to the end, where they are by convention).
pub(crate) fn tokens(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let letters: Vec<char> = source.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < letters.len() {
        let rest = &letters[at..];
        let length = match rest {
            ['/', '/', ..] => until(rest, 2, &['\n']),
            ['/', '*', ..] => until(rest, 2, &['*', '/']),
            ['r', '#', '"', ..] => until(rest, 3, &['"', '#']),
            ['"', ..] => string(rest),
            ['\'', '\\', ..] => until(rest, 3, &['\'']),
            ['\'', _, '\'', ..] => 3,
            [':', ':', ..] => {
                tokens.push("::".to_owned());
                2
            }
            [letter, ..] if is_identifier(*letter) => {
                let length = rest.iter().take_while(|letter| is_identifier(**letter)).count();
                tokens.push(rest[..length].iter().collect());
                length
            }
            [letter, ..] => {
                if !letter.is_whitespace() {
                    tokens.push(letter.to_string());
                }
                1
            }
            [] => 1,
        };
        at += length;
    }
    tokens
}

fn is_identifier(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The length up to and with `end`, which is looked for from `from` on.
fn until(rest: &[char], from: usize, end: &[char]) -> usize {
    let place = rest[from..].windows(end.len()).position(|letters| letters == end);
    place.map_or(rest.len(), |place| from + place + end.len())
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

#[cfg(test)]
mod tests {
    use super::tokens;

    #[test]
    fn comments_literals_and_unit_tests_are_left_out() {
        let source = r##"// a
/* b */ c::d("e\"f", 'g', '\n', r#"h"i"#, 'k: loop {});
#[cfg(test)]
mod tests { l }"##;
        assert_eq!(tokens(source).concat(), "c::d(,,,,'k:loop{});");
    }
}
