//! Addresses of the repository, its images and its chart.

use crate::File;

/// What stands before the owner in an address, and after it.
const ADDRESSES: [(&str, &str); 4] = [
    ("github.com/", "/kelvin"),
    ("raw.githubusercontent.com/", "/kelvin"),
    ("--repo ", "/kelvin"),
    (GHCR, ""),
];
const GHCR: &str = "ghcr.io/";

/// Describes every address whose owner is not that of `repository` in Cargo.toml, as after a partial replacement.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    let Some(owner) = files.iter().find(|file| file.path == "Cargo.toml").and_then(owner) else {
        return vec!["Cargo.toml: `repository` is not an address of kelvin on GitHub".to_owned()];
    };
    let mut found = Vec::new();
    for File { path, text } in files {
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = ADDRESSES.iter().flat_map(|(before, after)| {
                owners(line, before, after)
                    // GHCR takes lower case only.
                    .filter(|name| *name != owner && !(*before == GHCR && name.eq_ignore_ascii_case(owner)))
                    .map(move |name| format!("{before}{name}{after}"))
            });
            found.extend(wrong.map(|address| {
                format!("{path}:{number}: {address}: the owner is {owner}; use `make repository`")
            }));
        }
    }
    found
}

fn owner(manifest: &File) -> Option<&str> {
    let line =
        manifest.text.lines().find_map(|line| line.strip_prefix("repository = \"https://github.com/"))?;
    line.strip_suffix("/kelvin\"")
}

/// The names between `before` and `after`.
fn owners<'a>(line: &'a str, before: &str, after: &str) -> impl Iterator<Item = &'a str> {
    line.split(before).skip(1).filter_map(move |rest| {
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && !['-', '_'].contains(&letter))
            .unwrap_or(rest.len());
        let (name, rest) = rest.split_at(end);
        (!name.is_empty() && rest.starts_with(after)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(page: &str) -> usize {
        let manifest =
            File::new("Cargo.toml", &format!("repository = \"https://github.com/{}/kelvin\"\n", "Acme"));
        check(&[manifest, File::new("README.md", page)]).len()
    }

    #[test]
    fn other_owner_is_found_in_every_kind_of_address() {
        for (before, after) in ADDRESSES {
            assert_eq!(found(&format!("see `{before}Acme{after}/x`")), 0, "{before}");
            assert_eq!(found(&format!("see `{before}OWNER{after}/x`, {before}acme-2{after}")), 2, "{before}");
        }
    }

    #[test]
    fn owner_of_images_is_in_lower_case() {
        assert_eq!(found(&format!("{GHCR}acme/kelvin-server")), 0);
        assert_eq!(found(&format!("https://github.com/{}/kelvin", "acme")), 1);
    }

    #[test]
    fn addresses_of_others_are_not_found() {
        assert_eq!(found("https://github.com/kubernetes-sigs/kind and ghcr.io alone, ghcr.io/$(lower)"), 0);
    }

    #[test]
    fn missing_repository_is_found() {
        assert_eq!(check(&[File::new("Cargo.toml", "repository = \"https://example.org\"")]).len(), 1);
    }
}
