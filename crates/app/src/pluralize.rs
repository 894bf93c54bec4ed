/// Returns a count and its noun: `1 alert`, `2 alerts`.
///
/// ```
/// # use kelvin_app::pluralize;
/// assert_eq!(pluralize(1, "alert"), "1 alert");
/// assert_eq!(pluralize(0, "reading"), "0 readings");
/// ```
#[must_use]
pub fn pluralize(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
