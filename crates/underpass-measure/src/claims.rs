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
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::claims::rig::{FILE_BYTES, Rig};
use crate::compare::report::Report;
use crate::compare::{Program, Specimen, devices};
use crate::eyes::{self, Eyes, EyesError, Wanted};
use crate::figure::{Figure, float};
use crate::observe::Tier;

/// A sentence, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Claim {
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
pub struct Line {
    /// What was measured.
    pub what: String,
    /// What was found.
    pub found: Found,
}

/// What a measurement found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
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
pub enum Unit {
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
pub enum Verdict {
    /// It is so.
    Holds,
    /// It is so under a condition.
    HoldsIf(String),
    /// It is not so.
    DoesNotHold,
    /// It cannot be told here, and why.
    Unavailable(String),
}

/// What the verdicts are taken from.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Where the file that is measured is made; on a disk, if anything is to be learnt of disks.
    pub directory: &'a Path,
    /// How this program is run again.
    pub program: &'a Program,
    /// A comparison. What it lacks is measured here.
    pub report: &'a Report,
    /// The tier of evidence that is used at most for that.
    pub most: Tier,
    /// What the program's own eyes were measured to see; measured here if it is not given.
    pub eyes: Option<&'a Eyes>,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimsError {
    /// There is no file to measure with.
    #[error("no file can be made in {}", directory.display())]
    NoFile {
        /// Where.
        directory: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The caller asked for an end.
    #[error("interrupted")]
    Interrupted,
}

impl Verdict {
    /// The word for it: `holds`, `holds if`, `does not hold`, `unavailable`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::HoldsIf(_) => "holds if",
            Self::DoesNotHold => "does not hold",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Under what it holds, or why it cannot be told.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::HoldsIf(detail) | Self::Unavailable(detail) => Some(detail),
            Self::Holds | Self::DoesNotHold => None,
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

/// Parts of the time: of what a comparison lacks, and of looking at the file.
const COMPARING: f64 = 0.3;
const LOOKING: f64 = 0.3;

/// Judges every claim, in the order of the list. `progress` is told the share that is done,
/// 0 to 1, and what comes next, and may ask for an end.
///
/// Takes less than 20 s on a machine with a disk. The file and the control groups that are made
/// for it are gone afterwards, also after an end that `progress` asked for.
///
/// # Errors
///
/// [`ClaimsError`].
pub fn run(
    given: &Given<'_>,
    progress: &mut dyn FnMut(f64, &str) -> ControlFlow<()>,
) -> Result<Vec<Claim>, ClaimsError> {
    let Given { directory, program, report, most, .. } = *given;
    let specimen = Specimen::make_in(directory, FILE_BYTES)
        .map_err(|source| ClaimsError::NoFile { directory: directory.to_owned(), source })?;
    let rig = Rig { program, specimen };
    let on = &mut |share, what: &str| progress(COMPARING * share, what);
    let ControlFlow::Continue(report) =
        devices::completed(report, &rig.specimen, program, most, on)
    else {
        return Err(ClaimsError::Interrupted);
    };
    let eyes = match given.eyes {
        Some(eyes) => Ok(eyes.clone()),
        None => {
            let wanted = Wanted { bytes_max: FILE_BYTES, repeats: 5, cold: false };
            let on = &mut |share| progress(COMPARING + LOOKING * share, "the program's own eyes");
            match eyes::run(&rig.specimen.path(), &wanted, on) {
                Err(EyesError::Interrupted) => return Err(ClaimsError::Interrupted),
                eyes => eyes.map_err(|error| error.to_string()),
            }
        }
    };
    let mut claims = Vec::with_capacity(SENTENCES.len());
    for (step, (name, sentence, by)) in SENTENCES.into_iter().enumerate() {
        let before = COMPARING + LOOKING;
        if progress(before + (1.0 - before) * share(step), sentence).is_break() {
            return Err(ClaimsError::Interrupted);
        }
        let shown = match by {
            By::Rig(measure) => {
                measure(&rig).unwrap_or_else(|error| Shown::unavailable(error.to_string()))
            }
            By::Report(judge) => judge(&report),
            By::Eyes(judge) => eyes.as_ref().map_or_else(Shown::unavailable, judge),
        };
        let Shown { lines, verdict, explanation } = shown;
        claims.push(Claim { name, sentence, lines, verdict, explanation });
    }
    Ok(claims)
}

fn share(step: usize) -> f64 {
    float(step as u64) / float(SENTENCES.len() as u64)
}

#[cfg(test)]
mod tests;
