//! The targets of `make` that pages name.

use std::collections::BTreeSet;

use crate::{File, markdown};

/// Describes every target that a page tells its reader to make and no makefile has.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    let targets: BTreeSet<&str> =
        files.iter().filter(|file| is_makefile(file)).flat_map(|file| defined(&file.text)).collect();
    let pages = files.iter().filter(|file| file.has_extension("md"));
    let named = pages.flat_map(|page| commands(&page.text).map(|target| (page.path.as_str(), target)));
    named
        .filter(|(_, target)| !targets.contains(target))
        .map(|(page, target)| format!("{page}: make {target}: no such target"))
        .collect()
}

fn is_makefile(file: &File) -> bool {
    file.path == "Makefile" || (file.path.starts_with("mk/") && file.has_extension("mk"))
}

fn defined(makefile: &str) -> impl Iterator<Item = &str> {
    let rules = makefile.lines().filter(|line| !line.starts_with(['\t', '#', ' ', '.']));
    rules.filter_map(|line| line.split_once(':')).flat_map(|(targets, _)| targets.split_whitespace())
}

/// The targets of each `make` at the beginning of inline code or of a line of a code block.
fn commands(page: &str) -> impl Iterator<Item = &str> {
    let code = markdown::lines(page).flat_map(|(in_block, line)| {
        if in_block { vec![line] } else { line.split('`').skip(1).step_by(2).collect() }
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
        let files = [
            File::new("Makefile", "run: ## it\n\techo x: y\n"),
            File::new("mk/test.mk", ".PHONY: absent\ntest test-rust: run\n"),
            File::new(
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
