//! A screenshot of the terminal UI as SVG.

use std::fmt::Write as _;

use ratatui::{
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
};

/// The size of a cell in pixels.
const WIDTH: usize = 8;
const HEIGHT: usize = 17;
/// From the top of a line to the baseline of its text.
const BASELINE: usize = 13;
const MARGIN: usize = 12;

/// Draws each run of cells of one style as one text. Their lengths are given, because browsers have fonts of different widths.
pub(super) fn from_buffer(buffer: &Buffer) -> String {
    let (columns, lines) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    let (width, height) = (columns * WIDTH + 2 * MARGIN, lines * HEIGHT + 2 * MARGIN);
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="13">
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
"##
    );
    for (line, cells) in buffer.content().chunks(columns.max(1)).enumerate() {
        let mut column = 0;
        for run in cells.chunk_by(|one, next| style(one) == style(next)) {
            text(&mut svg, run, MARGIN + column * WIDTH, MARGIN + line * HEIGHT);
            column += run.len();
        }
    }
    svg + "</svg>\n"
}

fn style(cell: &Cell) -> (Color, Modifier) {
    (cell.fg, cell.modifier)
}

fn text(svg: &mut String, run: &[Cell], x: usize, y: usize) {
    let (color, modifier) = style(&run[0]);
    let reversed = modifier.contains(Modifier::REVERSED);
    let text: String = run.iter().map(Cell::symbol).collect();
    if text.trim().is_empty() && !reversed {
        return;
    }
    let length = run.len() * WIDTH;
    if reversed {
        let _ = writeln!(
            svg,
            r#"<rect x="{x}" y="{y}" width="{length}" height="{HEIGHT}" fill="{FOREGROUND}"/>"#
        );
    }
    let fill = if reversed { BACKGROUND } else { hex(color) };
    let bold = if modifier.contains(Modifier::BOLD) { r#" font-weight="bold""# } else { "" };
    let dim = if modifier.contains(Modifier::DIM) { r#" opacity="0.6""# } else { "" };
    let baseline = y + BASELINE;
    let _ = writeln!(
        svg,
        r#"<text x="{x}" y="{baseline}" fill="{fill}" textLength="{length}" lengthAdjust="spacingAndGlyphs"{bold}{dim}>{}</text>"#,
        escape(&text)
    );
}

const BACKGROUND: &str = "#0d1117";
const FOREGROUND: &str = "#e6edf3";

/// The colours that the terminal UI uses.
fn hex(color: Color) -> &'static str {
    match color {
        Color::Red => "#ff7b72",
        Color::Yellow => "#e3b341",
        Color::Green => "#56d364",
        Color::Cyan => "#76e3ea",
        _ => FOREGROUND,
    }
}

/// With spaces that browsers keep.
fn escape(text: &str) -> String {
    text.replace(' ', "\u{a0}").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use ratatui::{style::Style, text::Line};

    use super::*;

    #[test]
    fn cells_of_one_style_are_one_text() {
        let mut buffer = Buffer::with_lines([Line::from(""), Line::from("a<b  red")]);
        buffer.set_string(5, 1, "red", Style::new().fg(Color::Red).add_modifier(Modifier::BOLD));
        let svg = from_buffer(&buffer);
        assert!(svg.contains(r#"viewBox="0 0 88 58""#), "{svg}");
        assert!(svg.contains(r##"<text x="12" y="42" fill="#e6edf3" textLength="40""##), "{svg}");
        assert!(svg.contains(">a&lt;b\u{a0}\u{a0}</text>"), "{svg}");
        assert!(svg.contains(r##"<text x="52" y="42" fill="#ff7b72" textLength="24""##), "{svg}");
        assert!(svg.contains(r#"font-weight="bold">red</text>"#), "{svg}");
        assert_eq!(svg.matches("<text").count(), 2, "{svg}");
    }

    #[test]
    fn reversed_text_has_a_background() {
        let mut buffer = Buffer::with_lines([Line::from("x")]);
        buffer.set_style(buffer.area, Style::new().add_modifier(Modifier::REVERSED));
        let svg = from_buffer(&buffer);
        assert!(svg.contains(r##"<rect x="12" y="12" width="8" height="17" fill="#e6edf3"/>"##), "{svg}");
        assert!(svg.contains(r##"fill="#0d1117" textLength="8""##), "{svg}");
    }
}
