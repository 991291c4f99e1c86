//! A table, written once and drawn as text for a terminal or as HTML.
//!
//! No mark means measured, `~` derived, and `?1` not available here: the note of that number says
//! why. A row of which nothing is available says so once.

mod claims;
mod compare;
mod explain;
#[cfg(feature = "html")]
mod html;
mod summary;
mod text;

use crate::figure::Figure;

#[cfg(feature = "html")]
pub(crate) use claims::{conclusion, measurements};
#[cfg(feature = "html")]
pub(crate) use compare::{by_size, class, groups, of_eyes, of_group, title};
#[cfg(feature = "html")]
pub(crate) use summary::{id, takeaways};

/// Rows under columns. The title is the head of the rows' names; a sheet with others around it has
/// a caption.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sheet {
    caption: &'static str,
    title: String,
    lead: String,
    columns: Vec<Column>,
    rows: Vec<Line>,
    foot: Vec<String>,
}

/// The head of a column, and what it shares with its neighbours.
#[derive(Debug, Clone)]
struct Column {
    group: String,
    name: String,
}

#[derive(Debug, Clone)]
struct Line {
    name: String,
    /// What colours it on a page, if anything does.
    #[cfg_attr(not(feature = "html"), expect(dead_code, reason = "a terminal has no colours"))]
    class: &'static str,
    cells: Vec<Cell>,
}

/// What one row has in one column.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Empty,
    /// May be broken into lines.
    Words(String),
    /// A number that is written already.
    Number(String),
    /// A figure, and how its number is written.
    Figure(Figure, fn(f64) -> String),
}

/// A column of sheets that show `T`: its group, its name and what a row has in it.
pub(crate) type Field<T> = (&'static str, &'static str, fn(&T) -> Cell);

impl Sheet {
    pub(crate) fn new<'a>(
        title: &str,
        columns: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let column =
            |(group, name): (&str, &str)| Column { group: group.into(), name: name.into() };
        let columns = columns.into_iter().map(column).collect();
        Self { title: title.into(), columns, ..Self::default() }
    }

    /// A row for each of `items`, which are of one kind.
    pub(crate) fn of<'a, T: 'a>(
        title: &str,
        fields: &[Field<T>],
        items: impl IntoIterator<Item = (String, &'static str, &'a T)>,
    ) -> Self {
        let mut sheet = Self::new(title, fields.iter().map(|(group, name, _)| (*group, *name)));
        for (name, class, item) in items {
            sheet.push(name, class, fields.iter().map(|(.., cell)| cell(item)).collect());
        }
        sheet
    }

    pub(crate) fn push(&mut self, name: String, class: &'static str, cells: Vec<Cell>) {
        self.rows.push(Line { name, class, cells });
    }

    /// The same with words above it that say what it is of.
    pub(crate) fn under(self, caption: &'static str) -> Self {
        Self { caption, ..self }
    }

    /// The same with words before its table; of many sheets with the same, the first shows them.
    pub(crate) fn after(self, lead: &str) -> Self {
        Self { lead: lead.into(), ..self }
    }

    /// The same with words after its table.
    pub(crate) fn before(self, foot: Vec<String>) -> Self {
        Self { foot, ..self }
    }

    /// Columns in which some row has something, by their place.
    fn used(&self) -> Vec<usize> {
        let is_used = |at: &usize| {
            self.rows.iter().any(|row| !matches!(row.cells.get(*at), None | Some(Cell::Empty)))
        };
        (0..self.columns.len()).filter(is_used).collect()
    }

    fn is_words(&self, column: usize) -> bool {
        self.rows.iter().any(|row| matches!(row.cells.get(column), Some(Cell::Words(_))))
    }
}

impl Column {
    fn label(&self) -> String {
        match self.group.as_str() {
            "" => self.name.clone(),
            group => format!("{group}: {}", self.name),
        }
    }
}

impl Line {
    /// Why none of several figures is available, if that is one reason.
    fn reason(&self) -> Option<&str> {
        let mut reasons = self.cells.iter().filter_map(|cell| match cell {
            Cell::Empty => None,
            Cell::Figure(Figure::Unavailable(why), _) => Some(Some(why.as_str())),
            Cell::Words(_) | Cell::Number(_) | Cell::Figure(..) => Some(None),
        });
        let first = reasons.next()??;
        let others: Vec<Option<&str>> = reasons.collect();
        (!others.is_empty() && others.iter().all(|why| *why == Some(first))).then_some(first)
    }
}

/// What is said once for all sheets of a document.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    numbered: Vec<String>,
    /// How what a terminal shows as derived was.
    derived: Vec<String>,
    said: Vec<String>,
}

impl Notes {
    /// The number of a note, from 1.
    fn number(&mut self, note: &str) -> usize {
        number(&mut self.numbered, note).1
    }

    fn derive(&mut self, how: String) {
        number(&mut self.derived, &how);
    }

    /// The notes that terminals' marks refer to.
    fn list(&self) -> impl Iterator<Item = String> {
        let numbered = self.numbered.iter().enumerate();
        let missing = numbered.map(|(at, note)| format!("?{} {note}", at + 1));
        missing.chain(self.derived.iter().map(|it| format!("~ {it}")))
    }

    /// Whether these words were not said before.
    fn is_new(&mut self, words: &str) -> bool {
        number(&mut self.said, words).0
    }
}

/// Whether `text` was not among `texts` before, and its place there, from 1.
fn number(texts: &mut Vec<String>, text: &str) -> (bool, usize) {
    match texts.iter().position(|it| it == text) {
        Some(at) => (false, at + 1),
        None => {
            texts.push(text.to_owned());
            (true, texts.len())
        }
    }
}

#[cfg(test)]
mod tests;
