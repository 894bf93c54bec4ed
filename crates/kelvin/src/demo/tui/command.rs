use ratatui::text::Line;

/// Wraps a command into lines that a shell reads as one.
pub(super) fn lines<'a>(parts: &[String], width: u16) -> Vec<Line<'a>> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            // Two for the backslash and the space before it.
            Some(line) if line.chars().count() + 1 + part.chars().count() + 2 <= usize::from(width) => {
                *line += " ";
                *line += part;
            }
            Some(line) => {
                *line += " \\";
                lines.push(format!("  {part}"));
            }
            None => lines.push(part.clone()),
        }
    }
    lines.into_iter().map(Line::from).collect()
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_are_one_shell_command() {
        let parts = ["printf", "'%s|'", "first", "'second one'", "third"].map(String::from);
        for width in [12, 20, 30, 80] {
            let lines: Vec<_> = lines(&parts, width).into_iter().map(|line| line.to_string()).collect();
            let output = std::process::Command::new("sh").args(["-c", &lines.join("\n")]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), "first|second one|third|", "at {width}");
        }
    }
}
