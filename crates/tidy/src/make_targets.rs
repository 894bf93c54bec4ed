//! The targets of `make` that pages name.

use std::{collections::BTreeSet, path::Path};

use crate::File;

/// Describes every target that a page tells its reader to make and no makefile has.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    let targets: BTreeSet<&str> =
        files.iter().filter(|file| is_makefile(&file.path)).flat_map(|file| defined(&file.text)).collect();
    let pages = files.iter().filter(|file| Path::new(&file.path).extension().is_some_and(|end| end == "md"));
    let named = pages.flat_map(|page| commands(&page.text).map(|target| (page.path.as_str(), target)));
    named
        .filter(|(_, target)| !targets.contains(target))
        .map(|(page, target)| format!("{page}: make {target}: no such target"))
        .collect()
}

fn is_makefile(path: &str) -> bool {
    path == "Makefile"
        || (path.starts_with("mk/") && Path::new(path).extension().is_some_and(|end| end == "mk"))
}

fn defined(makefile: &str) -> impl Iterator<Item = &str> {
    let rules = makefile.lines().filter(|line| !line.starts_with(['\t', '#', ' ', '.']));
    rules.filter_map(|line| line.split_once(':')).flat_map(|(targets, _)| targets.split_whitespace())
}

/// The targets of each `make` at the beginning of inline code or of a line of a code block.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    let code = page.lines().flat_map(move |line| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced { vec![line] } else { line.split('`').skip(1).step_by(2).collect() }
    });
    code.flat_map(|code| code.split("&&"))
        .filter_map(|command| command.trim().strip_prefix("make "))
        .flat_map(|arguments| arguments.split_whitespace().take_while(|word| is_target(word)))
}

/// Unlike a variable, a comment or an operator.
fn is_target(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_lowercase())
        && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_targets_are_found() {
        let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
        let files = [
            file("Makefile", "run: ## it\n\techo x: y\n"),
            file("mk/test.mk", ".PHONY: absent\ntest test-rust: run\n"),
            file(
                "README.md",
                "`make run ARGS=x` and `make fly`, make up\n```sh\nmake test && make land # make sea\n```",
            ),
        ];
        assert_eq!(
            check(&files),
            ["README.md: make fly: no such target", "README.md: make land: no such target"]
        );
    }
}
