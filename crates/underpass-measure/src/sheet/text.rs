//! A sheet as lines for a terminal. Each column is as wide as what is in it; columns for which
//! there is no room follow in another block of rows.

use crate::figure::Figure;
use crate::sheet::{Cell, Notes, Sheet};
use crate::words::{self, broken, printable};

/// Columns that lines keep to, where single words and numbers allow.
pub(super) const WIDTH: usize = 80;

const INDENT: usize = 2;
const GAP: usize = 2;

/// A head that is wider is broken into lines, and so are names and words where they have to be.
const HEAD_MAX: usize = 11;
const NAME_MIN: usize = 16;
const WORDS_MIN: usize = 24;

/// A column with what is in it; one text a row.
struct Drawn<'a> {
    group: &'a str,
    name: &'a str,
    cells: Vec<String>,
    width: usize,
    is_words: bool,
}

impl Sheet {
    /// Appends the lines.
    pub(crate) fn append(&self, text: &mut String, notes: &mut Notes) {
        if !self.lead.is_empty() && notes.is_new(&self.lead) {
            words::paragraph(text, "  ", "  ", &self.lead, WIDTH);
        }
        if !self.caption.is_empty() {
            line(text, self.caption);
        }
        let mut columns: Vec<Drawn<'_>> =
            self.used().into_iter().map(|at| self.drawn(at, notes)).collect();
        let len = |name: &str| printable(name).chars().count();
        let names = self.rows.iter().map(|row| len(&row.name)).chain([len(&self.title)]);
        let mut name = names.max().unwrap_or(0);
        let room = WIDTH - INDENT;
        for column in columns.iter_mut().filter(|column| column.is_words) {
            column.width = column.width.min(room - NAME_MIN - GAP);
        }
        if let Some(at) = columns.iter().rposition(|column| column.is_words) {
            let left = room.saturating_sub(name + across(&columns) - columns[at].width);
            columns[at].width = columns[at].width.min(left.max(WORDS_MIN));
        }
        widen(&mut columns);
        if name + across(&columns) > room {
            name = name.min(room.saturating_sub(across(&columns)).max(NAME_MIN));
        }
        let mut rest = columns.as_mut_slice();
        while !rest.is_empty() {
            let taken = |at: usize, column: &Drawn<'_>| match at.checked_sub(1) {
                Some(before) if rest[before].group == column.group => GAP + column.width,
                _ => GAP + column.width.max(column.group.chars().count()),
            };
            let ends = rest.iter().enumerate().scan(name, |end, (at, column)| {
                *end += taken(at, column);
                Some(*end)
            });
            let count = ends.take_while(|end| *end <= room).count().max(1);
            let (block, others) = rest.split_at_mut(count);
            self.block(text, name, block);
            rest = others;
        }
        for foot in &self.foot {
            if notes.is_new(foot) {
                words::paragraph(text, "  ", "    ", foot, WIDTH);
            }
        }
    }

    fn drawn(&self, at: usize, notes: &mut Notes) -> Drawn<'_> {
        let column = &self.columns[at];
        let is_first = self.used().first() == Some(&at);
        let cells = self.rows.iter().map(|row| match row.reason() {
            Some(why) if is_first => format!("?{} not available", notes.number(why)),
            Some(_) => String::new(),
            None => row.cells.get(at).map_or_else(String::new, |cell| {
                if let Cell::Figure(Figure::Derived { from, .. }, _) = cell {
                    notes.derive(format!("{}: {from}", column.label()));
                }
                written(cell, notes)
            }),
        });
        let cells: Vec<String> = cells.collect();
        // What is said for a whole row reaches over the columns after the first.
        let len = |(row, text): (usize, &String)| match self.rows[row].reason() {
            Some(_) => 0,
            None => text.chars().count(),
        };
        let width = cells.iter().enumerate().map(len).max().unwrap_or(0);
        let longest = column.name.split(' ').map(|word| word.chars().count()).max().unwrap_or(0);
        let head = broken(&column.name, width.max(HEAD_MAX).max(longest));
        let width = head.iter().map(|line| line.chars().count()).fold(width, usize::max);
        let (group, name) = (&column.group, &column.name);
        Drawn { group, name, cells, width, is_words: self.is_words(at) }
    }

    fn block(&self, text: &mut String, name: usize, columns: &mut [Drawn<'_>]) {
        widen(columns);
        let runs = columns.chunk_by(|a, b| a.group == b.group);
        let group =
            |run: &[Drawn<'_>]| format!("{:GAP$}{:^2$}", "", run[0].group, across(run) - GAP);
        let groups: String = runs.map(group).collect();
        if !groups.trim().is_empty() {
            line(text, &format!("{:name$}{groups}", ""));
        }
        let heads: Vec<_> = columns.iter().map(|it| broken(it.name, it.width)).collect();
        let lines = heads.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..lines {
            let title = if at + 1 == lines { &self.title } else { "" };
            let below = |head: &Vec<String>| (head.len() + at).checked_sub(lines);
            let part = |head: &Vec<String>| below(head).map(|at| head[at].clone());
            line(text, &joined(title, name, columns, heads.iter().map(part)));
        }
        for (row, it) in self.rows.iter().enumerate() {
            let names = broken(&printable(&it.name), name);
            let cell = |column: &Drawn<'_>| match column.is_words {
                true => broken(&column.cells[row], column.width),
                false => vec![column.cells[row].clone()],
            };
            let cells: Vec<Vec<String>> = columns.iter().map(cell).collect();
            let lines = cells.iter().map(Vec::len).fold(names.len(), usize::max);
            for at in 0..lines {
                let part = |cell: &Vec<String>| cell.get(at).cloned();
                let name_of = names.get(at).map_or("", String::as_str);
                line(text, &joined(name_of, name, columns, cells.iter().map(part)));
            }
        }
    }
}

/// Columns of a terminal that these take.
fn across(columns: &[Drawn<'_>]) -> usize {
    columns.iter().map(|column| GAP + column.width).sum()
}

/// Makes room for what stands above several.
fn widen(columns: &mut [Drawn<'_>]) {
    for run in columns.chunk_by_mut(|a, b| a.group == b.group) {
        let missing = (GAP + run[0].group.chars().count()).saturating_sub(across(run));
        run[run.len() - 1].width += missing;
    }
}

/// A name and one line of each column.
fn joined(
    name: &str,
    width: usize,
    columns: &[Drawn<'_>],
    parts: impl Iterator<Item = Option<String>>,
) -> String {
    let mut line = format!("{name:width$}");
    for (column, text) in columns.iter().zip(parts) {
        let (text, width) = (text.unwrap_or_default(), column.width);
        line += &match column.is_words {
            true => format!("{:GAP$}{text:width$}", ""),
            false => format!("{:GAP$}{text:>width$}", ""),
        };
    }
    line
}

fn line(text: &mut String, line: &str) {
    text.push_str(format!("{:INDENT$}{line}", "").trim_end());
    text.push('\n');
}

fn written(cell: &Cell, notes: &mut Notes) -> String {
    match cell {
        Cell::Empty => String::new(),
        Cell::Words(text) | Cell::Number(text) => printable(text),
        Cell::Figure(Figure::Unavailable(why), _) => format!("?{}", notes.number(why)),
        Cell::Figure(figure, write) => {
            format!("{}{}", figure.mark(), figure.value().map_or_else(String::new, write))
        }
    }
}
