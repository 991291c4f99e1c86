//! The report as text for a terminal of 80 columns: a block for each pair of ends, with the
//! textbook's figures next to the measured ones.
//!
//! No mark means measured, `~` derived. `?1` is not available here: the note of that number at
//! the end says why.

mod besides;
mod eyes;

use std::fmt::Write;

use underpass::Method;

use super::report::{Report, Row, Textbook};
use crate::eyes::Eyes;
use crate::figure::Figure;
use crate::terms::ends;
use crate::words;

/// Columns that lines keep to.
const WIDTH: usize = 80;

/// Sizes of transfers, side by side.
const SIZES_MAX: usize = 4;

/// The report, and what the program's own eyes were measured to see.
#[must_use]
pub fn render(report: &Report, eyes: Option<&Eyes>) -> String {
    let mut table = Table::default();
    table.head(report);
    for group in groups(&report.rows) {
        table.block(group);
    }
    table.sweeps(&report.rows);
    if let Some(eyes) = eyes {
        table.eyes(eyes);
    }
    table.foot(report);
    table.text
}

/// Rows of whole files, by pair, link and state of the cache.
fn groups(rows: &[Row]) -> impl Iterator<Item = Vec<&Row>> {
    let whole: Vec<&Row> = rows.iter().filter(|row| row.transfer_bytes >= row.bytes).collect();
    let same = |a: &&Row, b: &&Row| (a.pair, a.link, a.cache) == (b.pair, b.link, b.cache);
    let groups: Vec<Vec<&Row>> = whole.chunk_by(same).map(<[&Row]>::to_vec).collect();
    groups.into_iter()
}

/// The text so far, and the reasons that its marks refer to.
#[derive(Debug, Default)]
struct Table {
    text: String,
    reasons: Vec<String>,
}

impl Table {
    /// Adds a line, without spaces at its end.
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Adds words, in lines that begin with `indent`, the first with `start`.
    fn words(&mut self, start: &str, indent: &str, words: &str) {
        words::paragraph(&mut self.text, start, indent, words, WIDTH);
    }

    fn head(&mut self, report: &Report) {
        let (machine, here) = (&report.machine, &report.conditions);
        let Machinery { processors, pinned } = Machinery::of(report);
        self.words(
            "",
            "  ",
            &format!(
                "Linux {}, {} ({processors}), {} of memory; {}",
                machine.kernel,
                machine.processor,
                words::size(machine.memory_bytes),
                pinned,
            ),
        );
        self.words(
            "",
            "  ",
            &format!(
                "{}: {} on {}, inode {}; TCP with {}, the receiver reads {} a call; figures of {}",
                here.file,
                words::size(here.file_bytes),
                here.file_system,
                here.inode,
                here.congestion_control,
                words::size(here.receiver_call_bytes as u64),
                words::of(here.repeats.into(), "run"),
            ),
        );
        self.words("", "  ", &format!("tier {}: {}", machine.tier, machine.tier_reason));
        self.line("No mark: measured; ~ derived; ? not available here, see the notes.");
    }

    fn block(&mut self, group: Vec<&Row>) {
        let Some(first) = group.first() else { return };
        self.line("");
        self.line(&format!("{}: {}", title(first), words::size(first.bytes)));
        let has_book = group.iter().any(|row| row.textbook.is_some());
        self.what_happened(&group, has_book);
        self.what_it_cost(&group);
        self.what_it_took(&group);
        self.with_a_receiver_that_discards(&group);
        for row in &group {
            self.row_in_words(row);
        }
        if has_book {
            self.books(&group);
        }
    }

    /// Its calls, its verdict and what there is to say of how it was seen.
    fn row_in_words(&mut self, row: &Row) {
        let start = format!("  {:<16}", row.method.name());
        let bytes = match row.by_reference_bytes.value() {
            Some(bytes) if bytes > 0.0 => {
                format!("; {}{} bytes", row.by_reference_bytes.mark(), words::whole(bytes))
            }
            Some(_) | None => String::new(),
        };
        let unlike = row.besides.unlike.as_ref();
        let unlike = unlike.map_or_else(String::new, |unlike| format!("; {unlike}"));
        let calls = calls(row);
        let all = format!("{calls}; {}{bytes}{unlike}", row.verdict);
        self.words(&start, &" ".repeat(18), all.trim_start_matches("; "));
    }

    fn what_happened(&mut self, group: &[&Row], has_book: bool) {
        let book = |word: &'static str| if has_book { word } else { "" };
        self.line(&format!("  {:<16}{:>14}{:>22}{:>13}", "", "", "CPU copies a byte", ""));
        self.line(&format!(
            "  {:<16}{:>9}{:>5}{:>8}{:>5}{:>9}{:>8}{:>5}",
            "",
            "crossings",
            book("book"),
            "sender",
            book("book"),
            "receiver",
            "devices",
            book("book"),
        ));
        for row in group {
            let book = |of: fn(&Textbook) -> u32| {
                row.textbook.as_ref().map_or_else(String::new, |book| of(book).to_string())
            };
            let line = format!(
                "  {:<16}{:>9}{:>5}{:>8}{:>5}{:>9}{:>8}{:>5}",
                row.method.name(),
                self.whole(&row.crossings),
                book(|book| book.switches),
                self.decimal(&row.sender_copies, 2),
                book(|book| book.cpu_copies),
                self.decimal(&row.receiver_copies, 2),
                self.decimal(&row.dma_copies, 2),
                book(|book| book.dma_copies),
            );
            self.line(&line);
        }
    }

    fn what_it_cost(&mut self, group: &[&Row]) {
        self.line(&format!("  {:<16}{:>25}{:>24}", "", "CPU s/GB", "GB/s"));
        self.line(&format!(
            "  {:<16}{:>8}{:>8}{:>9}{:>10}{:>7}{:>7}{:>10}",
            "", "sender", "receiv", "softirq", "median", "min", "max", "watched",
        ));
        for row in group {
            let line = format!(
                "  {:<16}{:>8}{:>8}{:>9}{:>10}{:>7}{:>7}{:>10}",
                row.method.name(),
                self.decimal(&row.sender_cpu_s_per_gb, 3),
                self.decimal(&row.receiver_cpu_s_per_gb, 3),
                self.decimal(&row.besides.softirq_s_per_gb, 3),
                self.decimal(&row.gb_per_s.median, 2),
                self.decimal(&row.gb_per_s.min, 2),
                self.decimal(&row.gb_per_s.max, 2),
                self.decimal(&row.besides.watched_gb_per_s, 2),
            );
            self.line(&line);
        }
    }

    fn what_it_took(&mut self, group: &[&Row]) {
        self.line(&format!("  {:<16}{:>16}{:>10}{:>22}", "", "faults", "", "memory at most"));
        self.line(&format!(
            "  {:<16}{:>8}{:>8}{:>10}{:>12}{:>10}",
            "", "minor", "major", "switches", "anonymous", "mapped",
        ));
        for row in group {
            let line = format!(
                "  {:<16}{:>8}{:>8}{:>10}{:>12}{:>10}",
                row.method.name(),
                self.whole(&row.minor_faults),
                self.whole(&row.major_faults),
                self.whole(&row.context_switches),
                self.bytes(&row.peak_anonymous_bytes),
                self.bytes(&row.peak_file_mapped_bytes),
            );
            self.line(&line);
        }
    }

    fn books(&mut self, group: &[&Row]) {
        let books = group.iter().filter_map(|row| Some((row, row.textbook.as_ref()?)));
        for (row, book) in books {
            let start = format!("  book: {} ", book.name);
            let method = row.method;
            let figures = format!(
                "({method}) has {} switches, {} CPU and {} device copies; {}.",
                book.switches, book.cpu_copies, book.dma_copies, book.why
            );
            self.words(&start, "    ", &figures);
        }
    }

    /// Throughput and processor time by size of transfer.
    fn sweeps(&mut self, rows: &[Row]) {
        let place = |row: &Row| (row.pair, row.link, row.cache);
        let mut places: Vec<_> =
            rows.iter().filter(|row| row.transfer_bytes < row.bytes).map(place).collect();
        places.dedup();
        for at in places {
            let rows: Vec<&Row> = rows.iter().filter(|row| place(row) == at).collect();
            let mut sizes: Vec<u64> = rows.iter().map(|row| row.transfer_bytes).collect();
            sizes.sort_unstable();
            sizes.dedup();
            let Some(first) = rows.first() else { continue };
            self.line("");
            self.line(&format!("{} by size of transfer: GB/s, CPU s/GB", title(first)));
            for sizes in sizes.chunks(SIZES_MAX) {
                self.sweep(&rows, sizes);
            }
        }
    }

    /// Methods by some sizes.
    fn sweep(&mut self, rows: &[&Row], sizes: &[u64]) {
        let heads = sizes.iter().map(|&size| format!("{:>15}", words::size(size)));
        self.line(&format!("  {:<15}{}", "", heads.collect::<String>()));
        let has = |method: &Method| rows.iter().any(|row| row.method == *method);
        for method in Method::ALL.iter().copied().filter(has) {
            let mut line = format!("  {:<15}", method.name());
            for size in sizes {
                let is_it = |row: &&&Row| row.method == method && row.transfer_bytes == *size;
                let cell = rows.iter().find(is_it).map_or_else(
                    || "–".to_owned(),
                    |row| {
                        let speed = self.decimal(&row.gb_per_s.median, 2);
                        let cost = self.decimal(&row.sender_cpu_s_per_gb, 3);
                        format!("{speed} {cost:>7}")
                    },
                );
                write!(line, "{cell:>15}").unwrap_or_default();
            }
            self.line(&line);
        }
    }

    fn foot(&mut self, report: &Report) {
        if !report.absent.is_empty() {
            self.line("");
            self.line("Not available here:");
        }
        for absent in &report.absent {
            let start = format!("  {}: ", ends(absent.pair, absent.link));
            self.words(&start, "    ", &absent.why);
        }
        let reasons = std::mem::take(&mut self.reasons);
        if !reasons.is_empty() || !report.conditions.notes.is_empty() {
            self.line("");
            self.line("Notes:");
        }
        for (index, reason) in reasons.iter().enumerate() {
            self.words(&format!("  ?{} ", index + 1), "     ", reason);
        }
        for note in &report.conditions.notes {
            self.words("  ", "    ", note);
        }
    }

    fn decimal(&mut self, figure: &Figure, places: usize) -> String {
        self.cell(figure, |value| format!("{value:.places$}"))
    }

    fn whole(&mut self, figure: &Figure) -> String {
        self.cell(figure, |value| format!("{value:.0}"))
    }

    fn bytes(&mut self, figure: &Figure) -> String {
        self.cell(figure, words::bytes_of)
    }

    fn cell(&mut self, figure: &Figure, text: impl FnOnce(f64) -> String) -> String {
        match figure {
            Figure::Measured(value) | Figure::Derived { value, .. } => {
                format!("{}{}", figure.mark(), text(*value))
            }
            Figure::Unavailable(why) => {
                let known = self.reasons.iter().position(|reason| reason == why);
                let index = known.unwrap_or_else(|| {
                    self.reasons.push(why.clone());
                    self.reasons.len() - 1
                });
                format!("?{}", index + 1)
            }
        }
    }
}

/// Words about processors.
struct Machinery {
    processors: String,
    pinned: String,
}

impl Machinery {
    fn of(report: &Report) -> Self {
        let here = &report.conditions;
        let pinned = match (here.sender_processor, here.receiver_processor) {
            (Some(sender), Some(receiver)) => {
                format!("senders on processor {sender}, everybody else on {receiver}")
            }
            _ => "no process is pinned to a processor".to_owned(),
        };
        let processors = words::of(report.machine.processors as u64, "processor");
        Self { processors, pinned }
    }
}

/// `file → TCP over loopback, warm`.
fn title(row: &Row) -> String {
    format!("{}, {}", ends(row.pair, row.link), row.cache)
}

/// `64 pread64, 64 sendmsg`.
fn calls(row: &Row) -> String {
    let kinds = row.calls.iter().map(|kind| match kind.calls.value() {
        Some(calls) => format!("{calls:.0} {}", kind.name),
        None => format!("? {}", kind.name),
    });
    kinds.collect::<Vec<_>>().join(", ")
}
