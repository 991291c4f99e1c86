//! A summary as a person reads it: the share first, then files, peers and processes, then the
//! reasons with their evidence and what to change.

use crate::explain::Summary;
use crate::explain::report::{Report, Share};
use crate::explain::watch::names;
use crate::figure::Figure;
use crate::observe::Tier;
use crate::sheet::{Cell, Field, Notes, Sheet};
use crate::words::{bytes_of, count, of, paragraph, printable, share, size};

/// Rows shown of a list.
const ROWS_MAX: usize = 10;

/// Cells of the bar, and of that in a line of a live watch, which keeps to 80 columns.
const BAR_CELLS: u64 = 40;
const LIVE_CELLS: u64 = 7;

const SHARES: [Field<Share>; 4] = [
    ("", "file bytes", |row| Cell::Figure(Figure::count(row.file_bytes()), bytes_of)),
    ("", "by reference", |row| part(row, row.by_reference_bytes)),
    ("", "copied", |row| part(row, row.copied_bytes)),
    ("", "unknown", |row| part(row, row.unknown_bytes)),
];

fn part(row: &Share, bytes: u64) -> Cell {
    Cell::Number(share(bytes, row.file_bytes()))
}

/// Columns a line of text has at most.
const TEXT_COLUMNS: usize = 78;

impl Summary {
    /// The whole text, with a line feed at its end.
    #[must_use]
    pub fn text(&self) -> String {
        let names = printable(&names(&self.followed));
        let mut text = format!("{names}, {:.1} s\n", self.seconds);
        line(&mut text, 0, &self.tier_text());
        if let (Some(looked), Some(budget)) = (self.looked_percent, self.budget_percent) {
            let why = format!("so that it takes at most {budget} % of a processor's");
            let seen = "bytes and calls are those of that time";
            line(&mut text, 0, &format!("looked at {looked:.1} % of the time, {why}: {seen}"));
        }
        if let Some(interval) = self.by_reference_interval {
            let (share, looks) = (interval.text(), of(interval.looks as u64, "look"));
            let all = "of all file bytes went by reference, by";
            line(&mut text, 0, &format!("{share} {all} {looks}"));
        }
        self.append_end(&mut text);
        match &self.report {
            Some(report) => report.append(&mut text),
            None => self.append_counted(&mut text),
        }
        text
    }

    /// What the end of the watch did not wait for, and whom it ended or did not.
    fn append_end(&self, text: &mut String) {
        if self.queued_bytes > 0 {
            let queued = count(self.queued_bytes);
            let when = "when the watch ended, after the program had";
            let what = "bytes had not left, or were not acknowledged,";
            line(text, 0, &format!("{queued} {what} {when}"));
        }
        if !self.killed.is_empty() {
            line(text, 0, &format!("killed, for it did not end: {}", names(&self.killed)));
        }
        if !self.left_running.is_empty() {
            let left = names(&self.left_running);
            line(text, 0, &format!("left running by the command, and not ended: {left}"));
        }
    }

    /// One line for a live watch: what left so far and how.
    #[must_use]
    pub fn line(&self) -> String {
        let seconds = self.seconds;
        let Some(report) = &self.report else {
            let read: u64 = self.counted.iter().map(|counted| counted.read_bytes).sum();
            let written: u64 = self.counted.iter().map(|counted| counted.written_bytes).sum();
            let (read, written) = (size(read), size(written));
            return format!("{seconds:7.1} s  read {read}, written {written}; pages not seen");
        };
        let (all, lent) = (report.total.file_bytes(), report.total.by_reference_bytes);
        let [reference, copied] = [lent, report.total.copied_bytes].map(|bytes| share(bytes, all));
        let (all, bar) = (size(all), bar(lent, all, LIVE_CELLS));
        format!(
            "{seconds:6.1} s  {all:>8} of files  {bar} {reference:>6} by reference  {copied:>6} \
             copied"
        )
    }

    fn tier_text(&self) -> String {
        let why = self.tier_why.as_deref().unwrap_or_default();
        match self.tier {
            Tier::A => "tier A (BPF): pages are seen".to_owned(),
            Tier::C => format!("tier C (same user, without BPF): {why}"),
            Tier::D => format!("tier D (no privilege over the process): {why}"),
        }
    }

    fn append_counted(&self, text: &mut String) {
        text.push_str("\nknown, from /proc:\n");
        if self.counted.is_empty() {
            text.push_str("  nothing: the counters of another user's process are closed\n");
        }
        for counted in self.counted.iter().take(ROWS_MAX) {
            let (program, process) = (&counted.program, counted.process);
            let took =
                of(counted.read_calls, "reading call") + " took " + &size(counted.read_bytes);
            let gave = of(counted.write_calls, "writing call") + " gave ";
            let gave = gave + &size(counted.written_bytes);
            let files = of(counted.open_files.len() as u64, "file");
            let sockets = of(counted.open_sockets, "socket");
            let open = format!("open now or before: {files}, {sockets}");
            line(text, 2, &format!("{program} ({process}): {took}, {gave}; {open}"));
            counted.open_files.iter().take(ROWS_MAX).for_each(|file| line(text, 4, file));
        }
        text.push_str("\nnot known:\n");
        let only = "Only calls are counted, no pages: which bytes left by reference and which the \
                    CPU copied, of which file, to whom and why. sendfile counts as a read and as a \
                    write, splice and send as neither.";
        line(text, 2, only);
    }
}

impl Report {
    fn append(&self, text: &mut String) {
        *text += &self.head();
        self.append_total(text);
        append_rows(text, "file", &self.files);
        if self.total.file_bytes() > 0 {
            append_rows(text, "peer", &self.peers);
        }
        if self.processes.len() > 1 {
            append_rows(text, "process", &self.processes);
        }
        let is_whole = self.total.copied_bytes + self.total.unknown_bytes == 0;
        if is_whole && self.total.file_bytes() > 0 {
            text.push_str("\nNo file bytes were copied.\n");
        }
        if !self.findings.is_empty() {
            let title = if is_whole { "also seen" } else { "why the rest was copied" };
            *text += &format!("\n{title}\n");
        }
        for finding in &self.findings {
            let (code, title) = (finding.reason.name(), finding.reason);
            let bytes = if finding.bytes > 0 { size(finding.bytes) } else { String::new() };
            line(text, 2, format!("{code:<3} {title}: {bytes}").trim_end_matches(": "));
            line(text, 6, &finding.evidence);
            line(text, 6, &format!("fix: {}", finding.fix));
        }
    }

    fn append_total(&self, text: &mut String) {
        let (total, all) = (&self.total, self.total.file_bytes());
        let mut told = |bytes: u64, what: &str| {
            if bytes > 0 {
                *text += &format!("  {:>15} {what}\n", count(bytes));
            }
        };
        if all > 0 {
            told(total.by_reference_bytes, "bytes left by reference");
            told(total.copied_bytes, "bytes were copied by the CPU");
            told(total.unknown_bytes, "bytes are of unknown making");
        }
        told(total.other_bytes, "more bytes, of no file (headers and such)");
        if self.lost_events > 0 {
            *text += "  Events were lost: these are lower bounds.\n";
        }
    }

    /// The share by reference, as a bar.
    fn head(&self) -> String {
        let (lent, all) = (self.total.by_reference_bytes, self.total.file_bytes());
        if all == 0 {
            return "\n  No file bytes were seen to leave a TCP socket.\n".to_owned();
        }
        let (bar, part, all) = (bar(lent, all, BAR_CELLS), share(lent, all), size(all));
        format!("\n  {bar}  {part} of {all} by reference\n")
    }
}

fn bar(part: u64, whole: u64, cells: u64) -> String {
    let filled = u128::from(part) * u128::from(cells);
    let full = filled.checked_div(u128::from(whole)).unwrap_or(0);
    (0..u128::from(cells)).map(|cell| if cell < full { '█' } else { '░' }).collect()
}

fn append_rows(text: &mut String, title: &'static str, rows: &[Share]) {
    if rows.is_empty() {
        return;
    }
    let name = |row: &Share| match row.connections.filter(|_| title == "peer") {
        Some(connections) => format!("{} ({})", row.name, of(connections, "connection")),
        None => row.name.clone(),
    };
    let shown = rows.iter().take(ROWS_MAX).map(|row| (name(row), "", row));
    let mut sheet = Sheet::of(title, &SHARES, shown);
    if let Some(more) = rows.get(ROWS_MAX..).filter(|more| !more.is_empty()) {
        let bytes = more.iter().map(Share::file_bytes).sum();
        let rest = format!("and {} more", count(more.len() as u64));
        sheet.push(rest, "", vec![Cell::Figure(Figure::count(bytes), bytes_of)]);
    }
    text.push('\n');
    sheet.append(text, &mut Notes::default());
}

fn line(text: &mut String, indent: usize, words: &str) {
    let indent = " ".repeat(indent);
    paragraph(text, &indent, &indent, words, TEXT_COLUMNS);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_for_the_whole() {
        let bar = |part, whole| bar(part, whole, 40);
        assert_eq!(bar(999, 1000).chars().filter(|cell| *cell == '█').count(), 39);
        assert_eq!(bar(1000, 1000), "█".repeat(40));
        assert_eq!(bar(0, 0), "░".repeat(40));
    }

    #[test]
    fn a_line_of_a_live_watch_fits_80_columns() {
        let context = crate::explain::context::Context::default();
        let evidence = crate::evidence::Evidence::default();
        let mut report = Report::new(&evidence, &context);
        (report.total.by_reference_bytes, report.total.copied_bytes) = (999_000 << 10, 1 << 20);
        let summary = Summary {
            tier: Tier::A,
            tier_why: None,
            seconds: 3600.0,
            looked_percent: None,
            budget_percent: None,
            by_reference_interval: None,
            left_running: Vec::new(),
            killed: Vec::new(),
            queued_bytes: 0,
            followed: Vec::new(),
            report: Some(report),
            counted: Vec::new(),
        };
        let line = summary.line();
        assert!(line.contains("99.8 % by reference"), "{line}");
        assert!(line.chars().count() <= 80, "{} columns: {line}", line.chars().count());
    }
}
