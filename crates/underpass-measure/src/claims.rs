//! What textbooks say of copies, sentence by sentence, and what this machine shows.
//!
//! Every claim has its own small measurement, on a file made for it, and a verdict that is a pure
//! function of its figures. A measurement that cannot be made here yields
//! [`Verdict::Unavailable`] with why, and leaves the others alone.

mod around;
mod child;
mod device;
mod dirty;
mod faster;
mod group;
mod input;
mod memory;
mod refault;
mod rig;
mod size;
mod stays;
mod switch;
mod transfer;

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

pub use self::child::serve;

use crate::claims::rig::Rig;
use crate::compare::report::Report;
use crate::eyes::{self, Eyes, EyesError, Wanted};
use crate::figure::{Figure, float};

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

/// What the measurements may use.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// Where the file that is measured is made; on a disk, if anything is to be learnt of disks.
    pub directory: &'a Path,
    /// Makes the command that starts this program again so that it calls [`serve`] on its
    /// standard input and output. Without it, what needs a separate process is unavailable.
    pub again: Option<&'a (dyn Fn() -> Command + Sync)>,
    /// A comparison, for what depends on devices: its rows over veth with and without
    /// scatter-gather.
    pub report: Option<&'a Report>,
    /// What the program's own eyes were measured to see; measured here if it is not given.
    pub eyes: Option<&'a Eyes>,
}

impl fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given")
            .field("directory", &self.directory)
            .field("again", &self.again.is_some())
            .field("report", &self.report.is_some())
            .field("eyes", &self.eyes.is_some())
            .finish()
    }
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
#[derive(Debug)]
struct Shown {
    lines: Vec<Line>,
    verdict: Verdict,
    explanation: String,
}

impl Shown {
    fn unavailable(why: impl Into<String>) -> Self {
        Self {
            lines: Vec::new(),
            verdict: Verdict::Unavailable(why.into()),
            explanation: String::new(),
        }
    }
}

/// A short name, the sentence, and its measurement.
struct Sentence {
    name: &'static str,
    text: &'static str,
    measure: fn(&mut Rig<'_>) -> io::Result<Shown>,
}

const SENTENCES: [Sentence; 12] = [
    Sentence {
        name: "switch",
        text: "A switch between user and kernel mode costs tens of nanoseconds to microseconds.",
        measure: switch::measure,
    },
    Sentence {
        name: "mmap-copy",
        text: "mmap and write save one CPU copy against read and write.",
        measure: transfer::mapping_saves_a_copy,
    },
    Sentence { name: "mmap-memory", text: "mmap halves the memory.", measure: memory::measure },
    Sentence {
        name: "mmap-large",
        text: "mmap suits large files; for small ones its set-up costs more than it saves.",
        measure: size::measure,
    },
    Sentence {
        name: "mmap-cache",
        text: "mmap goes around the page cache.",
        measure: around::measure,
    },
    Sentence { name: "mmap-read", text: EYES_SENTENCE, measure: faster::measure },
    Sentence {
        name: "mmap-stays",
        text: "Mapped pages stay until memory runs short, and serve the next query.",
        measure: stays::measure,
    },
    Sentence {
        name: "mmap-refault",
        text: "A mapped page that was evicted comes back through a fault.",
        measure: refault::measure,
    },
    Sentence {
        name: "mmap-dirty",
        text: "Dirty mapped pages reach the disk by writeback.",
        measure: dirty::measure,
    },
    Sentence {
        name: "sendfile-input",
        text: "sendfile needs a file as its input.",
        measure: input::measure,
    },
    Sentence {
        name: "sendfile-switches",
        text: "sendfile halves the switches between user and kernel mode.",
        measure: transfer::sendfile_halves_the_switches,
    },
    Sentence {
        name: "sendfile-device",
        text: "sendfile needs a scatter-gather device to avoid the last CPU copy.",
        measure: device::scatter_gather,
    },
];

/// The sentence whose measurement comes first, and its share of the time.
const EYES_SENTENCE: &str = "mmap beats read.";
const EYES_SHARE: f64 = 0.6;

/// Measures every claim, in the order of the list. `progress` is told the share that is done,
/// 0 to 1, and the sentence that comes next, and may ask for an end.
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
    let mut rig = Rig::new(given)
        .map_err(|source| ClaimsError::NoFile { directory: given.directory.to_owned(), source })?;
    let before = if given.eyes.is_none() { EYES_SHARE } else { 0.0 };
    if given.eyes.is_none() {
        let wanted = Wanted { bytes_max: rig::FILE_BYTES, repeats: 5, cold: true };
        let progress = &mut |share: f64| progress(share * before, EYES_SENTENCE);
        rig.eyes = match eyes::run(rig.path().as_ref(), &wanted, progress) {
            Err(EyesError::Interrupted) => return Err(ClaimsError::Interrupted),
            eyes => eyes.map_err(|error| error.to_string()),
        };
    }
    let mut claims = Vec::with_capacity(SENTENCES.len());
    for (step, Sentence { name, text, measure }) in SENTENCES.into_iter().enumerate() {
        if progress(before + (1.0 - before) * share(step), text).is_break() {
            return Err(ClaimsError::Interrupted);
        }
        let shown = measure(&mut rig).unwrap_or_else(|error| Shown::unavailable(error.to_string()));
        let Shown { lines, verdict, explanation } = shown;
        claims.push(Claim { name, sentence: text, lines, verdict, explanation });
    }
    Ok(claims)
}

fn share(step: usize) -> f64 {
    float(step as u64) / float(SENTENCES.len() as u64)
}

#[cfg(test)]
mod tests;
