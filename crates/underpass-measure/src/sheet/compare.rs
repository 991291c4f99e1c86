//! A comparison as sheets, and the text that is made of them.

use underpass::Method;

use crate::claims::Claim;
use crate::compare::report::{Cache, Report, Row, Verdict as Judged};
use crate::eyes::{Eyes, Look, tasks};
use crate::figure::Figure;
use crate::sheet::text::WIDTH;
use crate::sheet::{Cell, Field, Notes, Sheet, claims as judged, summary};
use crate::terms::ends;
use crate::words;

const COPIED: [Field<Row>; 7] = [
    ("user/kernel crossings", "measured", |row| shown(&row.crossings, words::whole)),
    ("user/kernel crossings", "textbook", |row| book(row, |book| book.switches)),
    ("CPU copies per byte", "sender", |row| shown(&row.sender_copies, words::copies)),
    ("CPU copies per byte", "textbook", |row| book(row, |book| book.cpu_copies)),
    ("CPU copies per byte", "receiver", |row| shown(&row.receiver_copies, words::copies)),
    ("device copies", "measured", |row| shown(&row.dma_copies, words::copies)),
    ("device copies", "textbook", |row| book(row, |book| book.dma_copies)),
];

const COST: [Field<Row>; 7] = [
    ("GB/s", "median", |row| shown(&row.gb_per_s.median, words::decimal)),
    ("GB/s", "lowest", |row| shown(&row.gb_per_s.min, words::decimal)),
    ("GB/s", "highest", |row| shown(&row.gb_per_s.max, words::decimal)),
    ("GB/s", "watched", |row| shown(&row.besides.watched_gb_per_s, words::decimal)),
    ("CPU s/GB", "sender", |row| shown(&row.sender_cpu_s_per_gb, words::decimal)),
    ("CPU s/GB", "receiver", |row| shown(&row.receiver_cpu_s_per_gb, words::decimal)),
    ("CPU s/GB", "softirq", |row| shown(&row.besides.softirq_s_per_gb, words::decimal)),
];

/// What the heads of [`COST`] do not say.
const WATCHED: &str = "watched: one more run, under the probe. softirq: time of all processors in \
                       software interrupts, strangers' included.";

const TOOK: [Field<Row>; 6] = [
    ("page faults", "minor", |row| shown(&row.minor_faults, words::whole)),
    ("page faults", "major", |row| shown(&row.major_faults, words::whole)),
    ("", "context switches", |row| shown(&row.context_switches, words::whole)),
    ("memory at most", "anonymous", |row| shown(&row.peak_anonymous_bytes, words::bytes_of)),
    ("memory at most", "file mapped", |row| shown(&row.peak_file_mapped_bytes, words::bytes_of)),
    ("memory at most", "pages mapped", |row| shown(&row.mapped_pages, words::whole)),
];

const DISCARDED: [Field<Row>; 4] = [
    ("", "GB/s", |row| discarded(row, |it| shown(&it.gb_per_s.median, words::decimal))),
    ("CPU s/GB", "sender", |row| {
        discarded(row, |it| shown(&it.sender_cpu_s_per_gb, words::decimal))
    }),
    ("CPU s/GB", "receiver", |row| {
        discarded(row, |it| shown(&it.receiver_cpu_s_per_gb, words::decimal))
    }),
    ("", "receiver's copies", |row| discarded(row, |it| shown(&it.receiver_copies, words::copies))),
];

const SEEN: [Field<Row>; 2] = [
    ("", "system calls", |row| Cell::Words(calls(row))),
    ("", "what became of the bytes", |row| Cell::Words(fate(row))),
];

/// Both ways of looking at the same bytes.
type Both = (Look, Look);

const LOOKED: [Field<Both>; 5] = [
    ("GB/s", "read(2)", |(read, _)| shown(&read.gb_per_s.median, words::decimal)),
    ("GB/s", "mapping", |(_, mapping)| shown(&mapping.gb_per_s.median, words::decimal)),
    ("", "times as quick", |(read, mapping)| shown(&mapping.times(read), words::decimal)),
    ("CPU s/GB", "read(2)", |(read, _)| shown(&read.cpu_s_per_gb, words::decimal)),
    ("CPU s/GB", "mapping", |(_, mapping)| shown(&mapping.cpu_s_per_gb, words::decimal)),
];

const FETCHED: [Field<Both>; 5] = [
    ("time per piece", "read(2)", |(read, _)| shown(&read.piece_ns, words::time)),
    ("time per piece", "mapping", |(_, mapping)| shown(&mapping.piece_ns, words::time)),
    ("", "looked at", |(read, _)| shown(&Figure::count(read.bytes), words::bytes_of)),
    ("from the disk", "read(2)", |(read, _)| shown(&read.disk_bytes, words::bytes_of)),
    ("from the disk", "mapping", |(_, mapping)| shown(&mapping.disk_bytes, words::bytes_of)),
];

const RANGES: [Field<Both>; 6] = [
    ("GB/s, read(2)", "lowest", |(read, _)| shown(&read.gb_per_s.min, words::decimal)),
    ("GB/s, read(2)", "highest", |(read, _)| shown(&read.gb_per_s.max, words::decimal)),
    ("GB/s, mapping", "lowest", |(_, mapping)| shown(&mapping.gb_per_s.min, words::decimal)),
    ("GB/s, mapping", "highest", |(_, mapping)| shown(&mapping.gb_per_s.max, words::decimal)),
    ("mapping's faults", "minor", |(_, mapping)| shown(&mapping.minor_faults, words::whole)),
    ("mapping's faults", "major", |(_, mapping)| shown(&mapping.major_faults, words::whole)),
];

fn shown(figure: &Figure, write: fn(f64) -> String) -> Cell {
    Cell::Figure(figure.clone(), write)
}

fn book(row: &Row, of: fn(&crate::methods::Textbook) -> u32) -> Cell {
    row.textbook.as_ref().map_or(Cell::Empty, |book| Cell::Number(of(book).to_string()))
}

fn discarded(row: &Row, of: fn(&crate::compare::besides::Discarded) -> Cell) -> Cell {
    row.besides.discarded.as_ref().map_or(Cell::Empty, of)
}

/// `64 pread64, 64 sendmsg`.
fn calls(row: &Row) -> String {
    let kinds = row.calls.iter().map(|kind| match kind.calls.value() {
        Some(calls) => format!("{} {}", words::whole(calls), kind.name),
        None => format!("? {}", kind.name),
    });
    kinds.collect::<Vec<_>>().join(", ")
}

/// The verdict, and what there is to say of how it was seen.
fn fate(row: &Row) -> String {
    let by_reference = row.by_reference_bytes.value().filter(|bytes| *bytes > 0.0);
    let bytes = by_reference
        .map(|bytes| format!("; {}{} bytes", row.by_reference_bytes.mark(), words::whole(bytes)));
    let unlike = row.besides.unlike.as_ref().map(|unlike| format!("; {unlike}"));
    format!("{}{}{}", row.verdict, bytes.unwrap_or_default(), unlike.unwrap_or_default())
}

/// `file → TCP over loopback, warm`.
pub(crate) fn title(row: &Row) -> String {
    format!("{}, {}", ends(row.pair, row.link), row.cache)
}

/// Rows of whole files by pair, link and state of the cache: those that can be compared.
pub(crate) fn groups(rows: &[Row]) -> Vec<Vec<&Row>> {
    let whole: Vec<&Row> = rows.iter().filter(|row| row.transfer_bytes >= row.bytes).collect();
    whole.chunk_by(|a, b| place(a) == place(b)).map(<[&Row]>::to_vec).collect()
}

fn place(row: &Row) -> impl PartialEq + use<> {
    (row.pair, row.link, row.cache)
}

/// What colours a row on a page.
pub(crate) const fn class(row: &Row) -> &'static str {
    match row.verdict {
        Judged::ByReference { .. } => "reference",
        Judged::Mixed { .. } => "mixed",
        Judged::Copied { .. } => "copied",
        Judged::Unknown { .. } => "unknown",
    }
}

/// A group's sheets, the most wanted first.
pub(crate) fn of_group(rows: &[&Row]) -> [Sheet; 5] {
    let of = |caption, fields| {
        let named = rows.iter().map(|row| (row.method.to_string(), class(row), *row));
        Sheet::of("method", fields, named).under(caption)
    };
    let books = rows.iter().filter_map(|row| {
        let book = row.textbook.as_ref()?;
        Some(format!("The book's {} ({}): {}.", book.name, row.method, book.why))
    });
    [
        of("How often every byte was copied", &COPIED).before(books.collect()),
        of("What it cost", &COST).before(vec![WATCHED.into()]),
        of("What it took", &TOOK),
        of("With a receiver that discards", &DISCARDED).after(
            "The same to a receiver that has the kernel discard the bytes (MSG_TRUNC): without \
             its copy, what is left is what the sender costs.",
        ),
        of("How it was seen", &SEEN),
    ]
}

/// Rows by size of transfer, where several sizes were measured; with one sheet for speed and one
/// for processor time.
pub(crate) fn by_size<'r>(rows: &'r [Row]) -> Vec<([Sheet; 2], Vec<&'r Row>)> {
    let mut places: Vec<Vec<&'r Row>> = Vec::new();
    for row in rows {
        match places.iter_mut().find(|rows| place(rows[0]) == place(row)) {
            Some(rows) => rows.push(row),
            None => places.push(vec![row]),
        }
    }
    let sheets = |rows: Vec<&'r Row>| Some((sheets_by_size(&rows)?, rows));
    places.into_iter().filter_map(sheets).collect()
}

fn sheets_by_size(rows: &[&Row]) -> Option<[Sheet; 2]> {
    let mut sizes: Vec<u64> = rows.iter().map(|row| row.transfer_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.len() < 2 {
        return None;
    }
    let heads: Vec<String> = sizes.iter().copied().map(words::size).collect();
    let sheet = |what: &'static str, of: fn(&Row) -> Cell| {
        let mut sheet = Sheet::new("method", heads.iter().map(|it| ("", &**it)));
        for method in Method::ALL.iter().filter(|it| rows.iter().any(|row| row.method == **it)) {
            let cell = |size: &u64| {
                let its = |row: &&&Row| row.method == *method && row.transfer_bytes == *size;
                rows.iter().find(its).map_or(Cell::Empty, |row| of(row))
            };
            sheet.push(method.to_string(), "", sizes.iter().map(cell).collect());
        }
        sheet.under(what)
    };
    Some([
        sheet("GB/s", |row| shown(&row.gb_per_s.median, words::decimal)),
        sheet("CPU s/GB of the sender", |row| shown(&row.sender_cpu_s_per_gb, words::decimal)),
    ])
}

/// What the program's own eyes saw.
pub(crate) fn of_eyes(eyes: &Eyes) -> [Sheet; 3] {
    let mut looks = Vec::new();
    for cache in [Cache::Warm, Cache::Cold] {
        for (task, order) in tasks() {
            let name = format!("{} {}, {cache}", order.name(), task.name());
            let pair = eyes.pair(task, order, cache);
            looks.extend(pair.map(|(read, mapping)| (name, (read.clone(), mapping.clone()))));
        }
    }
    let named = || looks.iter().map(|(name, both)| (name.clone(), "", both));
    [
        Sheet::of("task", &LOOKED, named()),
        Sheet::of("task", &FETCHED, named()).under("Time per piece, and what the disk read"),
        Sheet::of("task", &RANGES, named()).under("Range of the runs, and page faults"),
    ]
}

impl Report {
    /// The whole as text for a terminal, with what else was measured.
    #[must_use]
    pub(crate) fn text(&self, eyes: Option<&Eyes>, claims: Option<&[Claim]>) -> String {
        let (mut text, mut notes) = (String::new(), Notes::default());
        for about in self.about() {
            words::paragraph(&mut text, "", "  ", &about, WIDTH);
        }
        text +=
            "No mark: measured. ~: derived. ?: not available here, see the notes.\n\nIn short\n";
        for takeaway in summary::takeaways(self, eyes, claims) {
            let start = format!("  {}: ", takeaway.of);
            words::paragraph(&mut text, &start, "    ", &takeaway.text, WIDTH);
        }
        for group in groups(&self.rows) {
            let size = words::size(group[0].bytes);
            text += &format!("\n{}: {size}\n", title(group[0]));
            append(&mut text, &of_group(&group), &mut notes);
        }
        for (sheets, rows) in by_size(&self.rows) {
            text += &format!("\n{} by size of transfer\n", title(rows[0]));
            append(&mut text, &sheets, &mut notes);
        }
        if let Some(eyes) = eyes {
            let size = words::size(eyes.bytes);
            text += &format!("\nfile → the program's own eyes, read(2) or a mapping: {size}\n");
            append(&mut text, &of_eyes(eyes), &mut notes);
        }
        if let Some(claims) = claims {
            text += "\nWhat textbooks say, and what this machine shows\n";
            claims.iter().for_each(|claim| judged::append(&mut text, claim, &mut notes));
        }
        let notes: Vec<String> = notes.list().chain(self.conditions.notes.clone()).collect();
        for (head, lines) in [("Not available here", self.not_run()), ("Notes", notes)] {
            if !lines.is_empty() {
                text += &format!("\n{head}\n");
            }
            for line in lines.iter().map(|line| words::printable(line)) {
                words::paragraph(&mut text, "  ", "     ", &line, WIDTH);
            }
        }
        text
    }

    /// The machine, and what was held fixed.
    pub(crate) fn about(&self) -> [String; 3] {
        let (machine, here) = (&self.machine, &self.conditions);
        let pinned = match (here.sender_processor, here.receiver_processor) {
            (Some(sender), Some(receiver)) => {
                format!("senders on processor {sender}, all others on {receiver}")
            }
            _ => "no process is pinned to a processor".to_owned(),
        };
        let processors = words::of(machine.processors as u64, "processor");
        [
            format!(
                "Linux {}, {} ({processors}), {} of memory; {pinned}",
                machine.kernel,
                machine.processor,
                words::size(machine.memory_bytes),
            ),
            format!(
                "{}: {} on {}, inode {}; TCP with {}, the receiver reads {} per call; figures of \
                 {}",
                words::printable(&here.file),
                words::size(here.file_bytes),
                here.file_system,
                here.inode,
                here.congestion_control,
                words::size(here.receiver_call_bytes as u64),
                words::of(here.repeats.into(), "run"),
            ),
            format!("tier {}: {}", machine.tier, machine.tier_reason),
        ]
    }

    /// What was asked for and could not be run, each reason once.
    pub(crate) fn not_run(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for absent in &self.absent {
            let what = (absent.pair, absent.link, absent.method);
            let mut line = format!("{}, {}", absent.method, ends(absent.pair, absent.link));
            if self.rows.iter().any(|row| (row.pair, row.link, row.method) == what) {
                let size = words::size(absent.transfer_bytes);
                line += &format!(", {}, in transfers of {size}", absent.cache);
            }
            line += &format!(": {}", absent.why);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
        lines
    }
}

fn append(text: &mut String, sheets: &[Sheet], notes: &mut Notes) {
    for sheet in sheets.iter().filter(|sheet| !sheet.used().is_empty()) {
        text.push('\n');
        sheet.append(text, notes);
    }
}
