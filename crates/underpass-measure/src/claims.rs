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

use crate::claims::rig::{FILE_BYTES, Rig};
use crate::compare::report::Report;
use crate::compare::{Progress, Request, Specimen, devices};
use crate::eyes::{self, Eyes, Wanted};
use crate::figure::Figure;

/// A sentence, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Claim {
    /// A short name, as links spell it.
    pub name: &'static str,
    /// What textbooks say.
    pub sentence: &'static str,
    /// What was measured.
    pub lines: Vec<Line>,
    /// What this machine shows.
    pub verdict: Verdict,
    /// Why it is so.
    pub explanation: String,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub found: Found,
}

/// What a measurement found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    /// A number.
    Figure {
        /// The number.
        figure: Figure,
        /// What it counts.
        unit: Unit,
    },
    /// What the kernel answered.
    Answer(String),
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// 10^-9 s.
    Nanoseconds,
    /// Bytes.
    Bytes,
    /// Pages of the page cache.
    Pages,
    /// System calls.
    Calls,
    /// Changes between user and kernel mode.
    Crossings,
    /// Changes from one thread to another.
    Switches,
    /// Page faults.
    Faults,
    /// Copies by the processor, per byte moved.
    Copies,
    /// 10^9 bytes per second.
    GbPerS,
    /// Processor time per 10^9 bytes, in seconds.
    CpuSPerGb,
    /// How many times as much.
    Times,
}

/// What a machine shows of a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It is so.
    Holds,
    /// It is so under a condition.
    HoldsIf(String),
    /// It is not so.
    DoesNotHold,
    /// It cannot be told here, and why.
    Unavailable(String),
}

impl Verdict {
    /// The word for it: `holds`, `holds if`, `does not hold`, `unavailable`.
    #[must_use]
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsIf(_) => "holds if",
            Self::DoesNotHold => "does not hold",
            Self::Unavailable(_) => "unavailable",
        }
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

/// What one measurement brought.
#[derive(Debug, Clone, PartialEq)]
struct Shown {
    lines: Vec<Line>,
    verdict: Verdict,
    explanation: String,
}

impl Shown {
    fn unavailable(why: impl Into<String>) -> Self {
        let (lines, explanation) = (Vec::new(), String::new());
        Self { lines, verdict: Verdict::Unavailable(why.into()), explanation }
    }
}

/// What decides a sentence.
enum By {
    /// A separate measurement.
    Rig(fn(&Rig<'_>) -> io::Result<Shown>),
    /// A comparison.
    Report(fn(&Report) -> Shown),
    /// The program's own eyes.
    Eyes(fn(&Eyes) -> Shown),
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
        By::Report(by_report::mapping_saves_a_copy),
    ),
    ("mmap-memory", "mmap halves the memory.", By::Eyes(by_eyes::mapping_halves_the_memory)),
    (
        "mmap-large",
        "mmap suits large files; for small ones its set-up costs more than it saves.",
        By::Report(by_report::mapping_suits_large_files),
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
        By::Report(by_report::sendfile_halves_the_switches),
    ),
    (
        "sendfile-device",
        "sendfile needs a scatter-gather device to avoid the last CPU copy.",
        By::Report(by_report::sendfile_needs_scatter_gather),
    ),
];

/// A file for the measurements: in `directory`, or where temporary files are if none can be made
/// there.
pub(crate) fn file(directory: &Path) -> Result<Specimen, String> {
    let made = Specimen::make_in(directory, FILE_BYTES);
    made.or_else(|_| Specimen::make(FILE_BYTES)).map_err(|error| error.to_string())
}

/// Judges every claim, in the order of the list, by what is given and by what is measured on
/// `file`.
///
/// Takes less than 20 s on a machine with a disk. The file and the control groups that are made
/// for it are gone afterwards.
pub(crate) fn run(
    file: &Result<Specimen, String>,
    request: &Request,
    report: &Report,
    eyes: Option<&Eyes>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Vec<Claim> {
    let report = match file {
        Ok(specimen) => &devices::completed(report, specimen, request, progress),
        Err(_) => report,
    };
    let eyes = match (eyes, file) {
        (Some(eyes), _) => Ok(eyes.clone()),
        (None, Ok(specimen)) => looked_at(specimen, progress),
        (None, Err(why)) => Err(why.clone()),
    };
    let measured = |measure: fn(&Rig<'_>) -> io::Result<Shown>| match file {
        Ok(specimen) => measure(&Rig { program: &request.program, specimen })
            .unwrap_or_else(|error| Shown::unavailable(error.to_string())),
        Err(why) => Shown::unavailable(why),
    };
    let total = SENTENCES.len();
    let judged = |(done, (name, sentence, by)): (usize, (&'static str, &'static str, By))| {
        progress(Progress { done, total, label: sentence });
        let Shown { lines, verdict, explanation } = match by {
            By::Rig(measure) => measured(measure),
            By::Report(judge) => judge(report),
            By::Eyes(judge) => eyes.as_ref().map_or_else(Shown::unavailable, judge),
        };
        Claim { name, sentence, lines, verdict, explanation }
    };
    SENTENCES.into_iter().enumerate().map(judged).collect()
}

/// What the program's own eyes see of the file.
fn looked_at(specimen: &Specimen, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Eyes, String> {
    let wanted = Wanted { bytes_max: FILE_BYTES, repeats: 5, cold: false };
    let label = "the program's own eyes";
    let on = &mut |done, total| progress(Progress { done, total, label });
    eyes::run(&specimen.path(), label, &wanted, on).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
