//! Tables with a title, whose columns give way to each other, and what their cells are made of.

use ratatui::{
    layout::Constraint,
    style::{Modifier, Style, Stylize as _},
    text::{Span, Text},
    widgets::{Block, Borders, Row, Table},
};

/// A column of a table, shown if the terminal is at least `min_terminal_width` wide.
pub(super) struct Column {
    pub(super) title: &'static str,
    /// 0 takes what is left.
    pub(super) width: u16,
    pub(super) min_terminal_width: u16,
    pub(super) align_right: bool,
}

/// Returns the text in red if something is wrong.
pub(super) fn highlight(text: String, wrong: bool) -> Span<'static> {
    if wrong { Span::from(text).red().bold() } else { Span::from(text) }
}

/// Returns a top border with a title.
pub(super) fn border(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).border_style(Style::new().dim()).title(title.bold())
}

/// The widths of the columns, none for one that does not fit. Numbers, which are on the right, get the width of the
/// longest, so that none loses its first digits; the first column gets up to `name` where it needs that, and gives way
/// to the others.
pub(super) fn widths(columns: &[Column], rows: &[Vec<Text>], width: u16, name: u16) -> Vec<Option<u16>> {
    let longest = |at: usize| {
        let longest = rows.iter().filter_map(|cells| cells.get(at)).map(Text::width).max().unwrap_or(0);
        u16::try_from(longest).unwrap_or(u16::MAX)
    };
    let needed = |(at, column): (usize, &Column)| {
        let needed = match (at, column.align_right) {
            (_, true) => longest(at),
            (0, _) => longest(at).min(name),
            _ => 0,
        };
        (width >= column.min_terminal_width).then_some(column.width.max(needed))
    };
    let mut widths: Vec<_> = columns.iter().enumerate().map(needed).collect();
    let Some((Some(first), others)) = widths.split_first_mut() else { return widths };
    // The first column keeps at least one, and each other has a space before it.
    let mut left = width.saturating_sub(1);
    for other in others {
        match other.and_then(|width| left.checked_sub(width)?.checked_sub(1)) {
            Some(rest) => left = rest,
            None => *other = None,
        }
    }
    *first = (*first).min(left + 1);
    widths
}

/// A table with the columns that have a width; one of 0 takes what is left.
pub(super) fn table<'a>(
    title: &'a str,
    columns: &[Column],
    rows: Vec<Vec<Text<'a>>>,
    widths: &[Option<u16>],
) -> Table<'a> {
    let pick = |cells: Vec<Text<'a>>| {
        let height = cells.iter().map(Text::height).max().unwrap_or(1).max(1);
        let cells = columns.iter().zip(widths).zip(cells).filter(|((_, width), _)| width.is_some());
        let cells =
            cells.map(|((column, _), cell)| if column.align_right { cell.right_aligned() } else { cell });
        Row::new(cells).height(u16::try_from(height).unwrap_or(u16::MAX))
    };
    let header = pick(columns.iter().map(|column| Text::raw(column.title)).collect());
    let constraints = widths.iter().flatten().map(|width| match width {
        0 => Constraint::Min(0),
        width => Constraint::Length(*width),
    });
    Table::new(rows.into_iter().map(pick).collect::<Vec<_>>(), constraints)
        .header(header.style(Style::new().add_modifier(Modifier::DIM)))
        .block(border(title))
}

/// Text from outside without what would move the cursor, or turn the line around it: control characters and those that
/// set the direction of text.
pub(super) fn printable(text: &str) -> String {
    let moves = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if moves(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
