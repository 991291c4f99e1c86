use proptest::prelude::*;

use super::text::WIDTH;
use super::*;
use crate::claims::{Claim, Line, Unit, Verdict};
use crate::words;

fn drawn(sheet: &Sheet) -> String {
    let mut text = String::new();
    sheet.append(&mut text, &mut Notes::default());
    text
}

fn measured(value: f64) -> Cell {
    Cell::Figure(Figure::Measured(value), words::decimal)
}

fn missing(why: &str) -> Cell {
    Cell::Figure(Figure::Unavailable(why.into()), words::decimal)
}

#[test]
fn a_column_is_as_wide_as_what_is_in_it_and_its_group_is_above_it() {
    let columns = [("from the disk", "read(2)"), ("from the disk", "mapping"), ("", "all of them")];
    let mut sheet = Sheet::new("task", columns);
    let share = |text: &str| Cell::Number(text.into());
    sheet.push("random".into(), "", vec![share("48300 %"), share("409600 %"), measured(0.002_13)]);
    sheet.push("sum".into(), "", vec![Cell::Empty, missing("no <disk>"), measured(2_723.4)]);
    let text = drawn(&sheet);
    let wanted = [
        "            from the disk",
        "  task    read(2)   mapping  all of them",
        "  random  48300 %  409600 %      0.00213",
        "  sum                    ?1        2,723",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn what_is_not_available_is_said_once_a_line_and_its_reason_once() {
    let mut sheet = Sheet::new("task", [("", "GB/s"), ("", "faults")]);
    sheet.push("cold".into(), "", vec![missing("in memory"), missing("in memory")]);
    sheet.push("mixed".into(), "", vec![missing("in memory"), measured(1.0)]);
    sheet.push("other".into(), "", vec![missing("in memory"), missing("no counter")]);
    let mut notes = Notes::default();
    let mut text = String::new();
    sheet.append(&mut text, &mut notes);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[1], "  cold   ?1 not available");
    assert_eq!(lines[3..], ["  other    ?1      ?2"]);
    assert_eq!(notes.list().collect::<Vec<_>>(), ["?1 in memory", "?2 no counter"]);
}

#[test]
fn an_unused_column_is_left_out_and_words_take_the_room_that_is_left() {
    let mut sheet = Sheet::new("method", [("", "calls"), ("", "book"), ("", "verdict")]);
    let words = |text: &str| Cell::Words(text.into());
    let long = "copied: the kernel copied the lent pages before the receiver had them ".repeat(2);
    sheet.push("copy".into(), "", vec![words("64 sendmsg"), Cell::Empty, words(&long)]);
    let text = drawn(&sheet);
    assert!(!text.contains("book"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(text.lines().nth(2).unwrap().starts_with("                      "), "{text}");
}

#[test]
fn a_name_is_one_line_and_does_nothing_to_a_terminal() {
    let mut sheet = Sheet::new("file", [("", "bytes")]);
    sheet.push("/srv/\u{1b}[2J\nfix:x".into(), "", vec![measured(1.0)]);
    sheet.push(format!("/{}/end", "x".repeat(200)), "", vec![measured(2.0)]);
    let text = drawn(&sheet);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("/srv/\\u{1b}[2J\\u{a}fix:x  "), "{text}");
    assert!(text.contains("  …xxx") && text.contains("x/end  "), "{text}");
}

#[test]
fn words_that_sheets_share_are_shown_once() {
    let mut notes = Notes::default();
    let mut text = String::new();
    for _ in 0..2 {
        let mut sheet = Sheet::new("a", [("", "b")]).after("lead").before(vec!["foot".into()]);
        sheet.push("c".into(), "", vec![measured(1.0)]);
        sheet.append(&mut text, &mut notes);
    }
    assert_eq!((text.matches("lead").count(), text.matches("foot").count()), (1, 1), "{text}");
}

#[test]
fn measurements_of_the_same_kinds_are_columns_and_others_a_list() {
    let text = |names: [&str; 4]| {
        let figure = |at: usize| match at {
            0 => Line::new(names[0], Figure::Measured(1_536.0), Unit::Bytes),
            1 => Line::new(names[1], Figure::Unavailable("no disk".into()), Unit::Faults),
            2 => Line::answer(names[2], "EINVAL"),
            _ => Line::new(names[3], Figure::Derived { value: 2.0, from: "x" }, Unit::Copies),
        };
        let claim = Claim {
            name: "x",
            sentence: "Books are right.",
            lines: (0..4).map(figure).collect(),
            verdict: Verdict::HoldsIf("it is dark".into()),
            explanation: "word ".repeat(30),
        };
        let mut text = String::new();
        claims::append(&mut text, &claim, &mut Notes::default());
        text
    };
    let list = text(["one", "two", "three", "four"]);
    assert!(list.starts_with("\nHOLDS IF: Books are right.\n  measured  found\n"), "{list}");
    for line in ["  one       1.5 KiB\n", "  two       ?1\n", "  four      ~2.00 per byte\n"] {
        assert!(list.contains(line), "{line} in {list}");
    }
    assert!(list.contains("\n  => holds if it is dark\n     word word"), "{list}");
    let table = text(["4 KiB: read", "4 KiB: map", "16 KiB: read", "16 KiB: map"]);
    let wanted = [
        "  measured  read                map",
        "  4 KiB     1.5 KiB              ?1",
        "  16 KiB    EINVAL   ~2.00 per byte",
    ];
    assert_eq!(table.lines().skip(2).take(3).collect::<Vec<_>>(), wanted, "{table}");
}

/// A group's words and a column's.
const HEADS: (&str, &str) = ("[a-z]{0,9}( [a-z]{1,9}){0,2}", "[a-z]{1,14}( [a-z]{1,14}){0,3}");

prop_compose! {
    fn sheets()(columns in prop::collection::vec(HEADS, 1..9))
        (rows in prop::collection::vec(
            ("[a-z]{1,90}", prop::collection::vec(cells(), columns.len())), 1..5),
         columns in Just(columns)) -> Sheet {
        let mut sheet = Sheet::new("title", columns.iter().map(|(a, b)| (a.as_str(), b.as_str())));
        for (name, cells) in rows {
            sheet.push(name, "", cells);
        }
        sheet
    }
}

fn cells() -> impl Strategy<Value = Cell> {
    let figure = |value| Cell::Figure(Figure::Derived { value, from: "x" }, words::decimal);
    prop_oneof![
        Just(Cell::Empty),
        "[0-9]{1,24}".prop_map(Cell::Number),
        prop::num::f64::NORMAL.prop_map(move |value| figure(value % 1e12)),
        Just(missing("why")),
        "[a-z]{1,40}( [a-z]{1,9}){0,20}".prop_map(Cell::Words),
    ]
}

proptest! {
    /// Every number and single word of a column stands apart from its neighbours, and lines are
    /// not wider than a terminal.
    #[test]
    fn no_two_columns_touch(sheet in sheets()) {
        let text = drawn(&sheet);
        let parts: Vec<&str> = text.split_whitespace().collect();
        for row in &sheet.rows {
            let count = row.cells.iter().filter(|cell| !matches!(cell, Cell::Empty)).count();
            prop_assume!(row.reason().is_none() || count < 2);
            for cell in &row.cells {
                if let Cell::Number(number) = cell {
                    prop_assert!(parts.contains(&number.as_str()), "{number} in\n{text}");
                }
            }
        }
        prop_assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}
