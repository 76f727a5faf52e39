//! Tables without borders, as wide as the terminal at most. Where there is none, lines are as long as they are.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, presets::NOTHING};

use super::output::escape;

/// A column by its title.
#[derive(Clone, Copy, Debug)]
pub(super) enum Column {
    /// Wrapped where the terminal is narrow.
    Text(&'static str),
    /// Never wrapped.
    Word(&'static str),
    /// Never wrapped, and to the right.
    Number(&'static str),
}

pub(super) struct Table(comfy_table::Table);

impl Table {
    pub(super) fn new(columns: &[Column]) -> Self {
        let mut table = comfy_table::Table::new();
        table
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(columns.iter().map(|column| match column {
                Column::Text(title) | Column::Word(title) | Column::Number(title) => *title,
            }));
        for (column, kind) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if !matches!(kind, Column::Text(_)) {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            if matches!(kind, Column::Number(_)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self(table)
    }

    /// Adds a row. Its cells may come from inside a sandbox: they are escaped here.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| escape(&cell)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        for line in self.0.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    #[cfg(test)]
    pub(super) fn at_width(mut self, width: u16) -> Self {
        self.0.set_width(width);
        self
    }
}

/// Of the terminal, in characters; `None` where output goes elsewhere.
pub(super) fn terminal_width() -> Option<u16> {
    comfy_table::Table::new().width()
}

/// An optional cell.
pub(super) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            Column::Number("ID"),
            Column::Text("NAME"),
            Column::Text("END"),
        ]);
        table.row(["7".into(), "micky".into(), "client closed".into()]);
        table.row([
            "1000".into(),
            "\x1b[31mred".into(),
            "denied: no rule for example.com:443".into(),
        ]);
        table
    }

    #[test]
    fn columns_line_up_and_cells_are_escaped() {
        assert_eq!(
            table().render(),
            concat!(
                "  ID  NAME           END\n",
                "   7  micky          client closed\n",
                "1000  \\u{1b}[31mred  denied: no rule for example.com:443\n",
            )
        );
    }

    #[test]
    fn a_narrow_terminal_wraps_cells() {
        let text = table().at_width(40).render();
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        assert!(text.lines().count() > 3, "{text}");
        assert!(text.contains("denied: no rule"), "{text}");
    }
}
