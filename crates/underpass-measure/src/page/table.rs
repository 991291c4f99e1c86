//! The tables of a page. A wide one scrolls by itself, with the keyboard too, and its first column
//! stays in view.

use maud::{Markup, html};

use crate::compare::report::{Row, Spread};
use crate::eyes::Eyes;
use crate::page::number::{Notes, decimals, marked};
use crate::page::{Group, class};
use crate::words;

/// Columns between a method's name and its verdict.
const COLUMNS: [&str; 19] = [
    "System calls",
    "User/kernel crossings",
    "Context switches",
    "CPU copies per byte, sender",
    "CPU copies per byte, receiver",
    "Bytes by reference",
    "DMA copies per byte",
    "Minor faults",
    "Major faults",
    "Pages mapped",
    "CPU s/GB, sender",
    "CPU s/GB, receiver",
    "GB/s (lowest to highest)",
    "GB/s, watched",
    "Softirq s/GB",
    "GB/s to a receiver that discards",
    "CPU s/GB, that receiver",
    "Peak anonymous memory",
    "Peak file-mapped memory",
];

/// A group's rows, each with the book's beneath it.
pub(super) fn of_rows(group: &Group<'_>, notes: &mut Notes) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(format!("Table: {}", group.title())) {
            table {
                thead {
                    tr {
                        th scope="col" { "Method" }
                        th scope="col" { "Verdict" }
                        @for column in COLUMNS { th scope="col" { (column) } }
                    }
                }
                tbody {
                    @for row in &group.rows {
                        (measured(row, notes))
                        (book(row))
                    }
                }
            }
        }
    }
}

fn measured(row: &Row, notes: &mut Notes) -> Markup {
    html! {
        tr {
            th scope="row" { (row.method) }
            td.verdict {
                span class=(format!("swatch {}", class(&row.verdict))) {} (row.verdict)
                @if let Some(unlike) = &row.besides.unlike { br; small { (unlike) } }
            }
            td {
                @for (at, calls) in row.calls.iter().enumerate() {
                    @if at > 0 { br; }
                    (calls.name) " " (marked(&calls.calls, notes, words::whole))
                }
            }
            td { (marked(&row.crossings, notes, words::whole)) }
            td { (marked(&row.context_switches, notes, words::whole)) }
            td { (marked(&row.sender_copies, notes, decimals(2))) }
            td { (marked(&row.receiver_copies, notes, decimals(2))) }
            td {
                (marked(&row.by_reference_bytes, notes, words::whole))
                @if let Some(inode) = row.by_reference_inode { br; "inode " (inode) }
            }
            td { (marked(&row.dma_copies, notes, decimals(2))) }
            td { (marked(&row.minor_faults, notes, words::whole)) }
            td { (marked(&row.major_faults, notes, words::whole)) }
            td { (marked(&row.mapped_pages, notes, words::whole)) }
            td { (marked(&row.sender_cpu_s_per_gb, notes, decimals(3))) }
            td { (marked(&row.receiver_cpu_s_per_gb, notes, decimals(3))) }
            td { (spread(&row.gb_per_s, notes)) }
            td { (marked(&row.besides.watched_gb_per_s, notes, decimals(2))) }
            td { (marked(&row.besides.softirq_s_per_gb, notes, decimals(3))) }
            @match &row.besides.discarded {
                Some(discarded) => {
                    td { (spread(&discarded.gb_per_s, notes)) }
                    td { (marked(&discarded.receiver_cpu_s_per_gb, notes, decimals(3))) }
                }
                None => { td {} td {} }
            }
            td { (marked(&row.peak_anonymous_bytes, notes, words::bytes_of)) }
            td { (marked(&row.peak_file_mapped_bytes, notes, words::bytes_of)) }
        }
    }
}

/// What textbooks print of the method, and why the row above differs.
fn book(row: &Row) -> Markup {
    let Some(book) = &row.textbook else { return html! {} };
    html! {
        tr.book {
            th scope="row" { "the book: " (book.name) }
            td.verdict { (book.why) "." }
            td {}
            td { (book.switches) }
            td {}
            td { (book.cpu_copies) }
            td {}
            td {}
            td { (book.dma_copies) }
            @for _ in 7..COLUMNS.len() { td {} }
        }
    }
}

fn spread(spread: &Spread, notes: &mut Notes) -> Markup {
    html! {
        (marked(&spread.median, notes, decimals(2)))
        @if let Some((min, max)) = spread.min.value().zip(spread.max.value()) {
            br; small { (format!("{min:.2} to {max:.2}")) }
        }
    }
}

/// What the program's own eyes saw.
pub(super) fn of_eyes(eyes: &Eyes, notes: &mut Notes) -> Markup {
    let columns = [
        "GB/s (lowest to highest)",
        "ns a piece",
        "CPU s/GB",
        "Minor faults",
        "Major faults",
        "From disk",
    ];
    html! {
        div.scroll tabindex="0" role="region" aria-label="Table: to the program's own eyes" {
            table {
                thead {
                    tr {
                        th scope="col" { "Task" }
                        th scope="col" { "Way" }
                        th scope="col" { "Pieces" }
                        @for column in columns { th scope="col" { (column) } }
                    }
                }
                tbody {
                    @for look in &eyes.rows {
                        tr {
                            th scope="row" {
                                (look.order.name()) " " (look.task.name()) ", " (look.cache)
                            }
                            td { (look.way.name()) }
                            td { (words::count(look.pieces)) }
                            td { (spread(&look.gb_per_s, notes)) }
                            td { (marked(&look.piece_ns, notes, words::whole)) }
                            td { (marked(&look.cpu_s_per_gb, notes, decimals(3))) }
                            td { (marked(&look.minor_faults, notes, words::whole)) }
                            td { (marked(&look.major_faults, notes, words::whole)) }
                            td { (marked(&look.disk_bytes, notes, words::bytes_of)) }
                        }
                    }
                }
            }
        }
    }
}
