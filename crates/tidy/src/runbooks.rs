//! A section of `docs/runbooks.md` per alert, and an alert per section.

use std::collections::BTreeSet;

use crate::File;

const RUNBOOKS: &str = "docs/runbooks.md";
const ALERTS: &str = "charts/kelvin/templates/alerts/";

/// Describes every alert without a section and every section without an alert.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    let alerts: BTreeSet<_> = files
        .iter()
        .filter(|file| file.path.starts_with(ALERTS))
        .flat_map(|file| names(&file.text))
        .collect();
    let sections: BTreeSet<_> = files
        .iter()
        .filter(|file| file.path == RUNBOOKS)
        .flat_map(|file| file.text.lines().filter_map(|line| line.strip_prefix("## ")))
        .filter(|heading| heading.starts_with("Kelvin"))
        .map(str::to_owned)
        .collect();
    let missing = alerts.difference(&sections).map(|name| format!("{name}: no section in {RUNBOOKS}"));
    let surplus = sections.difference(&alerts).map(|name| format!("{name}: no alert in {ALERTS}"));
    missing.chain(surplus).collect()
}

fn names(template: &str) -> impl Iterator<Item = String> {
    template.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alert_without_section_and_section_without_alert_are_found() {
        let files = [
            File::new(
                "charts/kelvin/templates/alerts/server.yaml",
                "- alert: KelvinDown\n- alert: KelvinSlow",
            ),
            File::new(RUNBOOKS, "## KelvinDown\n## KelvinGone\n## See also"),
        ];
        assert_eq!(check(&files).len(), 2, "{:?}", check(&files));
    }
}
