/// A count and its noun: `1 alert`, `2 alerts`.
///
/// ```
/// # use kelvin_app::counted;
/// assert_eq!(counted(1, "alert"), "1 alert");
/// assert_eq!(counted(0, "reading"), "0 readings");
/// ```
#[must_use]
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
