//! Figures as a page shows them: marked, and with a note on where they come from.
//!
//! A note is printed once and referred to by its number, since the same reason applies to many
//! figures.

use maud::{Markup, html};

use crate::figure::Figure;

/// Reasons and formulas, in the order of first use.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<String>);

impl Notes {
    /// The number of a note, from 1.
    fn number(&mut self, text: String) -> usize {
        if let Some(at) = self.0.iter().position(|note| *note == text) {
            return at + 1;
        }
        self.0.push(text);
        self.0.len()
    }

    /// All of them.
    pub(super) fn list(&self) -> Markup {
        html! {
            @if !self.0.is_empty() {
                section id="notes" {
                    h2 { "Notes" }
                    ol {
                        @for (at, note) in self.0.iter().enumerate() {
                            li id=(format!("note-{}", at + 1)) { (note) }
                        }
                    }
                }
            }
        }
    }
}

/// A figure as `text` writes its number, with its mark and a reference to its note.
pub(super) fn marked(figure: &Figure, notes: &mut Notes, text: impl Fn(f64) -> String) -> Markup {
    let (shown, note) = match figure {
        Figure::Measured(value) => (text(*value), None),
        Figure::Derived { value, from } => {
            (format!("~{}", text(*value)), Some(format!("Derived: {from}.")))
        }
        Figure::Unavailable(why) => ("?".to_owned(), Some(format!("Not available: {why}."))),
    };
    let note = note.map(|note| notes.number(note));
    html! {
        (shown)
        @if let Some(note) = note {
            sup { a href=(format!("#note-{note}")) aria-label=(format!("note {note}")) { (note) } }
        }
    }
}

/// A number with this many decimals.
pub(super) fn decimals(count: usize) -> impl Fn(f64) -> String {
    move |value| format!("{value:.count$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_listed_once_however_often_it_is_used() {
        let mut notes = Notes::default();
        let missing = Figure::Unavailable("no <probe>".into());
        let first = marked(&missing, &mut notes, decimals(2)).into_string();
        let derived = Figure::Derived { value: 2.0, from: "a / b" };
        let second = marked(&derived, &mut notes, decimals(2)).into_string();
        assert_eq!(marked(&missing, &mut notes, decimals(2)).into_string(), first);
        assert!(first.starts_with("?<sup><a href=\"#note-1\""), "{first}");
        assert!(second.starts_with("~2.00<sup><a href=\"#note-2\""), "{second}");
        let list = notes.list().into_string();
        assert!(list.contains("Not available: no &lt;probe&gt;."), "{list}");
        assert_eq!(list.matches("<li").count(), 2);
    }
}
