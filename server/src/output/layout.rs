//! Text in aligned columns.

use std::io::{self, Write};

/// Cells longer than this do not make their column wider; they push the rest of their line.
const WIDTH_MAX: usize = 80;

/// Columns of text: their names, their alignment and their widths, which [`fit`](Self::fit) adapts to rows.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    right: bool,
    width: usize,
}

impl Layout {
    /// Columns by name and whether they are aligned to the right, as numbers are.
    pub(crate) fn new<S: Into<String>>(columns: impl IntoIterator<Item = (S, bool)>) -> Self {
        let columns = columns.into_iter().map(|(name, right)| {
            let name = printable(&name.into());
            let width = width(&name).min(WIDTH_MAX);
            Column { name, right, width }
        });
        Self { columns: columns.collect() }
    }

    /// Makes the columns wide enough for a row.
    pub(crate) fn fit(&mut self, row: &[String]) {
        for (column, cell) in self.columns.iter_mut().zip(row) {
            let widest = lines(cell).map(width).max().unwrap_or(0);
            column.width = column.width.max(widest.min(WIDTH_MAX));
        }
    }

    /// Writes the names and a line below them.
    pub(crate) fn write_header(&self, out: &mut impl Write) -> io::Result<()> {
        let names: Vec<String> = self.columns.iter().map(|column| column.name.replace('\n', " ")).collect();
        self.write_row(out, &names)?;
        let rules: Vec<String> = self.columns.iter().map(|column| "-".repeat(column.width + 2)).collect();
        writeln!(out, "{}", rules.join("+"))
    }

    /// Writes one row; cells of several lines continue below.
    pub(crate) fn write_row(&self, out: &mut impl Write, row: &[String]) -> io::Result<()> {
        let cells: Vec<Vec<&str>> = row.iter().map(|cell| lines(cell).collect()).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        let mut text = String::new();
        for line in 0..height {
            text.clear();
            for (index, (column, cell)) in self.columns.iter().zip(&cells).enumerate() {
                let cell = cell.get(line).copied().unwrap_or("");
                let padding = " ".repeat(column.width.saturating_sub(width(cell)));
                let (before, after) =
                    if column.right { (padding.as_str(), "") } else { ("", padding.as_str()) };
                let separator = if index == 0 { " " } else { "| " };
                text.extend([separator, before, cell, after, " "]);
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// Lines of a cell, without empty ones at its end.
fn lines(cell: &str) -> impl Iterator<Item = &str> {
    cell.trim_end_matches('\n').split('\n')
}

/// Text that cannot move the cursor or change colours: control characters other than line ends are spelled out.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for ch in text.chars() {
        if ch.is_control() && ch != '\n' { safe.extend(ch.escape_default()) } else { safe.push(ch) }
    }
    safe
}

/// How many columns of a terminal a text takes.
fn width(text: &str) -> usize {
    text.chars()
        .map(|ch| match ch {
            // Marks that combine with the letter before, joiners and variation selectors.
            '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{fe00}'..='\u{fe0f}' => 0,
            // Scripts and symbols that are two columns wide.
            '\u{1100}'..='\u{115f}'
            | '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe6f}'
            | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}'
            | '\u{1f300}'..='\u{1f64f}'
            | '\u{1f680}'..='\u{1f6ff}'
            | '\u{1f900}'..='\u{1f9ff}'
            | '\u{20000}'..='\u{3fffd}' => 2,
            _ => 1,
        })
        .sum()
}
