//! A sheet as a table of HTML. Each cell carries its column's words, which a narrow window shows
//! in place of the heads, and the role that an element loses where it is laid out as a block. Marks
//! refer to notes by their numbers.
//!
//! Source: WAI-ARIA 1.2, 5.3.3 (table, row, cell).

use maud::{Markup, html};

use crate::figure::Figure;
use crate::sheet::{Cell, Line, Notes, Sheet};

impl Sheet {
    /// The table with the words around it; nothing if no row has anything.
    pub(crate) fn html(&self, notes: &mut Notes) -> Markup {
        let used = self.used();
        html! {
            @if !used.is_empty() {
                @if !self.lead.is_empty() && notes.is_new(&self.lead) { p { (self.lead) } }
                table role="table" aria-label=[self.caption.is_empty().then_some(&self.title)] {
                    @if !self.caption.is_empty() { caption { (self.caption) } }
                    thead role="rowgroup" { (self.heads(&used)) }
                    tbody role="rowgroup" {
                        @for row in &self.rows { (self.row(row, &used, notes)) }
                    }
                }
                @for foot in &self.foot {
                    @if notes.is_new(foot) { p.foot { (foot) } }
                }
            }
        }
    }

    fn heads(&self, used: &[usize]) -> Markup {
        let group = |at: usize| self.columns[at].group.as_str();
        let has_groups = used.iter().any(|at| !group(*at).is_empty());
        let rows = if has_groups { 2 } else { 1 };
        let head = |at: usize, rows: usize| {
            let class = if self.is_words(at) { "words" } else { "" };
            html! {
                th scope="col" role="columnheader" class=(class) rowspan=(rows) {
                    (self.columns[at].name)
                }
            }
        };
        html! {
            tr role="row" {
                th scope="col" role="columnheader" rowspan=(rows) { (self.title) }
                @for run in used.chunk_by(|a, b| group(*a) == group(*b)) {
                    @if group(run[0]).is_empty() {
                        @for at in run { (head(*at, rows)) }
                    } @else {
                        th.group scope="colgroup" role="columnheader" colspan=(run.len()) {
                            (group(run[0]))
                        }
                    }
                }
            }
            @if has_groups {
                tr role="row" {
                    @for at in used { @if !group(*at).is_empty() { (head(*at, 1)) } }
                }
            }
        }
    }

    fn row(&self, row: &Line, used: &[usize], notes: &mut Notes) -> Markup {
        html! {
            tr role="row" {
                th.short[!row.name.contains(' ')] scope="row" role="rowheader" {
                    @if !row.class.is_empty() { span class=(format!("swatch {}", row.class)) {} }
                    (row.name)
                }
                @if let Some(why) = row.reason() {
                    td.words role="cell" colspan=(used.len()) {
                        "not available" (reference(&format!("Not available: {why}."), notes))
                    }
                } @else {
                    @for at in used { (self.cell(row.cells.get(*at), *at, notes)) }
                }
            }
        }
    }

    fn cell(&self, cell: Option<&Cell>, at: usize, notes: &mut Notes) -> Markup {
        let class = if self.is_words(at) { "words" } else { "" };
        let label = self.columns[at].label();
        match cell {
            None | Some(Cell::Empty) => html! { td.empty role="cell" {} },
            Some(cell) => html! {
                td class=(class) role="cell" data-label=(label) { span { (shown(cell, notes)) } }
            },
        }
    }
}

/// A cell with its mark and the number of its note.
fn shown(cell: &Cell, notes: &mut Notes) -> Markup {
    match cell {
        Cell::Empty => html! {},
        Cell::Words(text) | Cell::Number(text) => html! { (text) },
        Cell::Figure(Figure::Measured(value), write) => html! { (write(*value)) },
        Cell::Figure(Figure::Derived { value, from }, write) => html! {
            "~" (write(*value)) (reference(&format!("Derived: {from}."), notes))
        },
        Cell::Figure(Figure::Unavailable(why), _) => html! {
            "?" (reference(&format!("Not available: {why}."), notes))
        },
    }
}

fn reference(note: &str, notes: &mut Notes) -> Markup {
    let number = notes.number(note);
    let name = format!("note {number}");
    html! {
        sup { a href=(format!("#note-{number}")) aria-label=(name) { (number) } }
    }
}

impl Notes {
    /// What the marks refer to.
    pub(crate) fn html(&self) -> Markup {
        html! {
            @if !self.numbered.is_empty() {
                section id="notes" {
                    h2 { "Notes" }
                    ol {
                        @for (at, note) in self.numbered.iter().enumerate() {
                            li id=(format!("note-{}", at + 1)) { (note) }
                        }
                    }
                }
            }
        }
    }
}
