//! What textbooks say of copies, sentence by sentence, and what this machine shows.
//!
//! What a comparison and the program's own eyes have shown decides some of them, and the others
//! have a small measurement each, on a file made for it. Every verdict is a pure function of
//! figures. A measurement that cannot be made here yields [`Verdict::Unavailable`] with why, and
//! leaves the others alone.

mod around;
mod by_eyes;
mod by_report;
mod dirty;
mod input;
mod refault;
mod rig;
mod stays;
mod switch;

use std::io;
use std::path::Path;

use serde::Serialize;

pub(crate) use crate::claims::rig::FILE_BYTES;
use crate::claims::rig::Rig;
use crate::compare::devices::{self, Completed};
use crate::compare::report::Report;
use crate::compare::{Progress, Request, Specimen};
use crate::eyes::{self, Eyes, Wanted};
use crate::figure::{Figure, REPEATS_MIN};
use crate::terms::Link;
use crate::usage::Used;
use crate::words;

/// A sentence, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Claim {
    pub name: &'static str,
    pub sentence: &'static str,
    pub lines: Vec<Line>,
    pub verdict: Verdict,
    pub explanation: String,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    pub what: String,
    pub found: Found,
}

/// What a measurement found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    Figure {
        figure: Figure,
        unit: Unit,
    },
    /// What the kernel answered.
    Answer(String),
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
    Pages,
    Calls,
    /// Changes between user and kernel mode.
    Crossings,
    /// Changes from one thread to another.
    Switches,
    Faults,
    /// Copies by the processor, per byte moved.
    Copies,
    GbPerS,
    CpuSPerGb,
    /// How many times as much.
    Times,
}

/// What a machine shows of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    Holds,
    /// It is so under a condition.
    HoldsIf(String),
    DoesNotHold,
    /// It cannot be told here, and why.
    Unavailable(String),
}

impl Verdict {
    const fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::DoesNotHold }
    }

    /// The word for it: `holds`, `holds if`, `does not hold`, `unavailable`.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsIf(_) => "holds if",
            Self::DoesNotHold => "does not hold",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// What one measurement brought.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    lines: Vec<Line>,
    verdict: Verdict,
    explanation: String,
}

impl Shown {
    fn unavailable(why: impl Into<String>) -> Self {
        Diary::default().shown(Verdict::Unavailable(why.into()), "")
    }
}

impl Line {
    pub(crate) fn new(what: impl Into<String>, figure: Figure, unit: Unit) -> Self {
        Self { what: what.into(), found: Found::Figure { figure, unit } }
    }

    pub(crate) fn answer(what: impl Into<String>, answer: impl Into<String>) -> Self {
        Self { what: what.into(), found: Found::Answer(answer.into()) }
    }
}

/// What a measurement writes down while it is made.
#[derive(Default)]
struct Diary(Vec<Line>);

impl Diary {
    fn figure(&mut self, what: impl Into<String>, figure: &Figure, unit: Unit) {
        self.0.push(Line::new(what, figure.clone(), unit));
    }

    fn count(&mut self, what: impl Into<String>, count: u64, unit: Unit) {
        self.figure(what, &Figure::count(count), unit);
    }

    /// What a thread or process had the disk fetch.
    fn fetched(&mut self, what: impl Into<String>, used: &Used) {
        self.figure(what, &Figure::of_disk(used.disk_read_bytes), Unit::Bytes);
    }

    fn answer(&mut self, what: impl Into<String>, answer: impl Into<String>) {
        self.0.push(Line::answer(what, answer));
    }

    /// What is not available is not explained.
    fn shown(self, verdict: Verdict, explanation: impl Into<String>) -> Shown {
        let is_told = !matches!(verdict, Verdict::Unavailable(_));
        let explanation = if is_told { explanation.into() } else { String::new() };
        Shown { lines: self.0, verdict, explanation }
    }
}

/// What decides a sentence.
enum By {
    /// A separate measurement.
    Rig(fn(&Rig<'_>) -> io::Result<Shown>),
    /// What was sent over a link and others like it.
    Report(Link, fn(&Report) -> Result<Shown, String>),
    /// The program's own eyes.
    Eyes(fn(&Eyes) -> Result<Shown, String>),
}

/// A short name, the sentence, and what decides it.
const SENTENCES: [(&str, &str, By); 12] = [
    (
        "switch",
        "A switch between user and kernel mode costs tens of nanoseconds to microseconds.",
        By::Rig(switch::measure),
    ),
    (
        "mmap-copy",
        "mmap and write save one CPU copy against read and write.",
        By::Report(Link::Loopback, by_report::mapping_saves_a_copy),
    ),
    ("mmap-memory", "mmap halves the memory.", By::Eyes(by_eyes::mapping_halves_the_memory)),
    (
        "mmap-large",
        "mmap suits large files; for small ones its set-up costs more than it saves.",
        By::Report(Link::Loopback, by_report::mapping_suits_large_files),
    ),
    ("mmap-cache", "mmap goes around the page cache.", By::Rig(around::measure)),
    ("mmap-read", "mmap beats read.", By::Eyes(by_eyes::mapping_beats_read)),
    (
        "mmap-stays",
        "Mapped pages stay until memory runs short, and serve the next query.",
        By::Rig(stays::measure),
    ),
    (
        "mmap-refault",
        "A mapped page that was evicted comes back through a fault.",
        By::Rig(refault::measure),
    ),
    ("mmap-dirty", "Dirty mapped pages reach the disk by writeback.", By::Rig(dirty::measure)),
    ("sendfile-input", "sendfile needs a file as its input.", By::Rig(input::measure)),
    (
        "sendfile-switches",
        "sendfile halves the switches between user and kernel mode.",
        By::Report(Link::Loopback, by_report::sendfile_halves_the_switches),
    ),
    (
        "sendfile-device",
        "sendfile needs a scatter-gather device to avoid the last CPU copy.",
        By::Report(Link::Veth, by_report::sendfile_needs_scatter_gather),
    ),
];

/// A file for the measurements: in `directory`, or where temporary files are if none can be made
/// there.
pub(crate) fn file(directory: &Path, bytes: u64) -> Result<Specimen, String> {
    let made = Specimen::make_in(directory, bytes).or_else(|_| Specimen::make(bytes));
    made.map_err(|error| error.to_string())
}

/// Judges every claim, in the order of the list: by a comparison of `specimen`, by what the
/// program's own eyes saw of it, and by what is measured for the claims, on `file` among others.
/// What has to be known of those runs is added to the report's notes.
///
/// Takes less than 20 s on a machine with a disk. Files and control groups that are made for it
/// are gone afterwards.
pub(crate) fn run(
    (specimen, request): (&Specimen, &Request),
    file: &Result<Specimen, String>,
    (report, eyes): (&mut Report, Option<&Eyes>),
    progress: &mut dyn FnMut(Progress<'_>),
) -> Vec<Claim> {
    let Completed { report: sent, notes, how } =
        devices::completed(report, [Ok(specimen), file.as_ref()], request, progress);
    report.conditions.notes.extend(notes);
    let eyes = match eyes.filter(|eyes| is_enough(eyes)) {
        Some(eyes) => Ok(eyes.clone()),
        None => looked_at(specimen.directory(), progress),
    };
    let measured = |measure: fn(&Rig<'_>) -> io::Result<Shown>| {
        let specimen = file.as_ref().map_err(String::clone)?;
        let rig = Rig { program: &request.program, specimen };
        measure(&rig).map_err(|error| words::chain(&error))
    };
    let total = SENTENCES.len();
    let judged = |(done, (name, sentence, by)): (usize, (&'static str, &'static str, By))| {
        progress(Progress { done, total, label: sentence });
        let shown = match by {
            By::Rig(measure) => measured(measure),
            By::Report(link, judge) => judge(&sent).map(|mut shown| {
                let how = how.iter().filter(|(links, _)| links.contains(&link));
                how.for_each(|(_, how)| shown.explanation += how);
                shown
            }),
            By::Eyes(judge) => eyes.as_ref().map_err(String::clone).and_then(judge),
        };
        let Shown { lines, verdict, explanation } = shown.unwrap_or_else(Shown::unavailable);
        let explanation = explanation.trim_start().to_owned();
        Claim { name, sentence, lines, verdict, explanation }
    };
    SENTENCES.into_iter().enumerate().map(judged).collect()
}

/// Less than this is all in one piece, and may stay in the processor's caches.
const EYES_MIN: u64 = 16 << 20;

const fn is_enough(eyes: &Eyes) -> bool {
    eyes.bytes >= EYES_MIN && eyes.repeats >= REPEATS_MIN
}

/// What the program's own eyes see of a file made for it, several times as large as most
/// processors' caches.
fn looked_at(directory: &Path, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Eyes, String> {
    let specimen = file(directory, 4 * EYES_MIN)?;
    let wanted = Wanted { bytes_max: specimen.bytes(), repeats: 5, cold: false };
    let label = "the program's own eyes";
    let on = &mut |done, total| progress(Progress { done, total, label });
    eyes::run(&specimen.path(), label, &wanted, on).map_err(|error| words::chain(&error))
}

#[cfg(test)]
mod tests;
