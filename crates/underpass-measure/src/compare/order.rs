//! What a comparison asks of the processes it starts, and what they answer.
//!
//! An order comes with its descriptors and a pipe; it is answered by [`Reply::Ready`], begins when
//! there is a byte in the pipe, and is answered once more. A message would not do for the
//! beginning: to a watcher, what a process copies out of a socket is what it received. A process
//! carries out one order in its life, so that what it used is what the order cost.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::usage::Meter;
pub(super) use crate::usage::{Resident, Used};

/// From the comparison to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Move bytes by a method of the engine. Comes with the source and the sink.
    Send(Sending),
    /// Read a stream to its end. Comes with the stream and, to compare it with, the file.
    Receive(Receiving),
    /// Look at all of a file through a mapping, this many times. Comes with the file.
    Read { passes: u32 },
    /// Remove this control group when the channel ends. The process outlives its starter.
    Keep(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sending {
    pub(super) method: String,
    /// Whether the source is a file, and not a stream.
    pub(super) from_file: bool,
    /// Whether the sink is a file, and not a stream.
    pub(super) to_file: bool,
    pub(super) bytes: u64,
    /// Bytes of each transfer; the last may be shorter.
    pub(super) transfer_bytes: u64,
    pub(super) processor: Option<usize>,
    /// Whether a watcher is shown the sink by a call that names it.
    pub(super) shows_sink: bool,
    /// Whether memory in use is looked at after each call, which takes time.
    pub(super) looks_at_memory: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Receiving {
    /// Bytes each read(2) asks for.
    pub(super) call_bytes: usize,
    pub(super) processor: Option<usize>,
    /// Whether the kernel discards what arrives in place of copying it; of TCP only.
    pub(super) discards: bool,
    /// Whether what arrives is compared with the file, which takes time.
    pub(super) compares: bool,
}

/// From a process to the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Reply {
    Ready,
    Done(Box<Account>),
    /// The method cannot do this here, and what was answered.
    Refused(String),
    /// Something else went wrong.
    Failed(String),
}

/// What an order cost. Times are of `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    /// Bytes moved, or received.
    pub(super) bytes: u64,
    /// When the first call was about to be made, in nanoseconds.
    pub(super) began_ns: u64,
    /// When the last had returned.
    pub(super) ended_ns: u64,
    /// Processor time between the two, in nanoseconds.
    pub(super) cpu_ns: u64,
    /// Data-moving calls, or operations of io_uring, as the engine counts them.
    pub(super) calls: u64,
    /// Bytes whose zero-copy completion was read.
    pub(super) zero_copy_done: u64,
    /// Those that the kernel said it copied.
    pub(super) zero_copy_copied: u64,
    pub(super) used: Used,
    /// What each pass over a file used.
    pub(crate) passes: Vec<Used>,
    /// Most memory in use: anonymous beyond that at the start; `None` if it was not looked at.
    pub(super) peak: Option<Resident>,
    /// Where what arrived first differed from the file.
    pub(super) differs_at: Option<u64>,
}

impl Account {
    /// Books what was used since the meter was made.
    pub(super) fn book(&mut self, meter: &Meter) -> io::Result<()> {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.used = meter.used()?;
        self.began_ns = nanoseconds(meter.began());
        self.ended_ns = nanoseconds(meter.began() + self.used.elapsed);
        self.cpu_ns = nanoseconds(self.used.cpu);
        Ok(())
    }
}
