//! Relative links in Markdown, with their anchors.

use std::collections::{HashMap, HashSet};

use crate::{File, markdown};

/// Describes every relative link that leads nowhere.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    let paths: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let pages = files.iter().filter(|file| file.has_extension("md"));
    let anchors: HashMap<&str, HashSet<String>> =
        pages.clone().map(|file| (file.path.as_str(), anchors(&file.text))).collect();
    let exists = |path: &str| {
        path.is_empty()
            || paths.contains(path)
            || paths.iter().any(|file| file.starts_with(&format!("{path}/")))
    };
    let mut broken = Vec::new();
    for page in pages {
        for target in targets(&page.text) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path) };
            let known = anchors.get(path.as_str());
            if !exists(&path) {
                broken.push(format!("{}: {target}: no such file", page.path));
            } else if !anchor.is_empty() && known.is_some_and(|known| !known.contains(anchor)) {
                broken.push(format!("{}: {target}: no such heading", page.path));
            }
        }
    }
    broken
}

/// Relative targets of `[text](target)`, outside of code.
fn targets(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        let outside: String = line.split('`').step_by(2).collect::<Vec<_>>().join("code");
        for part in outside.split("](").skip(1) {
            let target = part.split([')', ' ']).next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                targets.push(target.to_owned());
            }
        }
    }
    targets
}

/// The anchors that a forge gives the headings of a page.
fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for heading in prose(text).filter(|line| line.starts_with('#')) {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        let anchor: String = kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect();
        let repeated = (1..).map(|number| format!("{anchor}-{number}"));
        let free = std::iter::once(anchor.clone()).chain(repeated).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// The lines outside of code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    markdown::lines(text).filter_map(|(in_block, line)| (!in_block).then_some(line))
}

/// `target` as seen from `page`, from the repository's root.
fn resolve(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_and_heading_are_found() {
        let files = [
            File::new(
                "README.md",
                "[a](docs/a.md#one-two) [b](docs/b.md) [c](#top) `[d](none)` [e](docs) [f](https://a)\n# Top",
            ),
            File::new(
                "docs/a.md",
                "# One, two\n# One, two\n[up](../README.md#none) [second](#one-two-1)\n```\n[x](y)\n```",
            ),
        ];
        let expected =
            ["README.md: docs/b.md: no such file", "docs/a.md: ../README.md#none: no such heading"];
        assert_eq!(check(&files), expected);
    }
}
