//! Calls and packets of followed processes by the kernel's tracepoints, where there is no BPF:
//! what they moved between which descriptors, and whether their packets left in pages.
//!
//! It needs `CAP_PERFMON` and a readable tracefs. It never sees whose a page is. A packet does
//! not tell its socket, so that only those count that a process sends in calls of its own; the
//! others, which leave while somebody else's time runs, are taken to be like them.
//!
//! Source: perf_event_open(2); `Documentation/trace/events.rst`.

mod account;
mod descriptors;
mod look;
mod record;
mod tracefs;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::time::ClockId;
use underpass_sys::perf::{self, Ring};

use crate::call;
use crate::evidence::Evidence;
use crate::explain::proc;
use account::Account;
pub(crate) use account::UPPER_LAYER;
use descriptors::{Descriptor, End};
use look::Sockets;
use record::{Formats, Record};

/// Pages of a processor's ring at most: some 40,000 calls.
const PAGES_MAX: usize = 1024;

/// Questions to /proc in a look, and between two looks at the rings, which fill meanwhile.
const QUESTIONS_MAX: usize = 1024;
const QUESTIONS_AT_ONCE: usize = 128;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// Arguments of calls are known for x86-64 only.
    #[error("calls cannot be read on {architecture}; x86_64 is known")]
    Architecture {
        /// This one.
        architecture: &'static str,
    },
    /// tracefs says nothing.
    #[error("{} cannot be read: {source}; it takes root, and tracefs", path.display())]
    Tracefs {
        /// What was to be read.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A tracepoint is not as it is known.
    #[error("the tracepoint {tracepoint} has no {field} on this kernel")]
    Field {
        /// The tracepoint.
        tracepoint: &'static str,
        /// What is missing.
        field: &'static str,
    },
    /// perf_event_open(2) is not permitted.
    #[error("tracepoints are not permitted; it takes root, or CAP_PERFMON")]
    Forbidden,
    /// Too many threads.
    #[error(
        "no descriptor is left for thread {thread}: each takes two for each processor; \
         raise 'ulimit -n'"
    )]
    Descriptors {
        /// The thread.
        thread: u32,
    },
    /// A call failed.
    #[error("{call} failed: {source}")]
    Call {
        /// What was tried.
        call: &'static str,
        /// The errno.
        source: Errno,
    },
}

/// Payload of packets that a process sent by a device, in calls of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packets {
    pub(crate) process: u32,
    /// The device's name.
    pub(crate) interface: String,
    /// Payload in pages (`data_len`).
    pub(crate) paged_bytes: u64,
    /// Payload of packets without any.
    pub(crate) linear_bytes: u64,
}

/// All that was seen. Among the sockets of the evidence is one without a peer, which stands for
/// all connections that were over before /proc was asked, and one for those with kernel TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) evidence: Evidence,
    pub(crate) packets: Vec<Packets>,
    /// TCP connections that each process accepted.
    pub(crate) connections: BTreeMap<u32, u64>,
}

/// Rings that tracepoints write, until it is dropped.
#[derive(Debug)]
pub(crate) struct Trace {
    formats: Formats,
    filter: CString,
    processors: Vec<Processor>,
    account: Account,
    /// Questions to /proc so far.
    asked: usize,
    /// Records that are younger than those of another ring which was read before it.
    later: Vec<Record>,
}

#[derive(Debug)]
struct Processor {
    number: i32,
    /// The first of them has the ring.
    events: Vec<OwnedFd>,
    ring: Option<Ring>,
}

impl Trace {
    /// Looks whether tracepoints can be watched here; nothing is followed yet.
    ///
    /// # Errors
    ///
    /// [`TraceError::Tracefs`] and [`TraceError::Forbidden`] without the privileges.
    pub(crate) fn open() -> Result<Self, TraceError> {
        let architecture = std::env::consts::ARCH;
        if architecture != "x86_64" {
            return Err(TraceError::Architecture { architecture });
        }
        let formats = Formats::of_kernel()?;
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
        let processor = |number| Processor { number, events: Vec::new(), ring: None };
        let trace = Self {
            filter: filter(),
            processors: numbers(&online).into_iter().map(processor).collect(),
            account: Account::default(),
            asked: 0,
            later: Vec::new(),
            formats,
        };
        // That of a stranger's packets needs what calls of one's own do not.
        let own = trace.event(trace.formats.packets.id, std::process::id(), 0);
        perf::open(own).map_err(|source| failed("perf_event_open", 0, source))?;
        Ok(trace)
    }

    /// Watches a process, with all its threads, and whatever it starts from now on.
    ///
    /// # Errors
    ///
    /// Those of perf_event_open(2); not that it has ended meanwhile.
    pub(crate) fn follow(&mut self, process: u32) -> Result<(), TraceError> {
        let mut tried = BTreeSet::new();
        loop {
            // Threads that began since are recorded already.
            self.drain(now());
            let is_known =
                |thread: u32| tried.contains(&thread) || self.account.follows(process, thread);
            let threads = proc::threads(process);
            let news: Vec<u32> = threads.filter(|thread| !is_known(*thread)).collect();
            if news.is_empty() {
                break;
            }
            for thread in news {
                tried.insert(thread);
                match self.follow_thread(thread) {
                    Ok(()) => self.account.follow(process, thread),
                    Err(TraceError::Call { source: Errno::SRCH, .. }) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for (number, found) in look::descriptors(process) {
            let opening = descriptors::Opening { end: found.end, is_direct: false };
            self.account.descriptors.set((process, number), opening);
            self.account.note_addresses(found);
        }
        Ok(())
    }

    fn follow_thread(&mut self, thread: u32) -> Result<(), TraceError> {
        let refused = |call| move |source| failed(call, thread, source);
        for place in 0..self.processors.len() {
            for tracepoint in [self.formats.calls.id, self.formats.packets.id] {
                let event = self.event(tracepoint, thread, self.processors[place].number);
                let fd = perf::open(event).map_err(refused("perf_event_open"))?;
                if event.has_registers {
                    perf::set_filter(fd.as_fd(), &self.filter).map_err(refused("a filter"))?;
                }
                let processor = &mut self.processors[place];
                match processor.events.first() {
                    Some(first) => perf::set_output(fd.as_fd(), first.as_fd())
                        .map_err(refused("sharing a ring"))?,
                    None => processor.ring = Some(ring(&fd).map_err(refused("a ring"))?),
                }
                processor.events.push(fd);
            }
        }
        Ok(())
    }

    fn event(&self, tracepoint: u64, thread: u32, processor: i32) -> perf::Event {
        let is_of_calls = tracepoint == self.formats.calls.id;
        perf::Event {
            tracepoint,
            thread: thread.cast_signed(),
            processor,
            has_registers: is_of_calls,
            has_tasks: is_of_calls,
        }
    }

    /// Reads the rings, and asks /proc what is behind descriptors that calls were seen to use.
    ///
    /// An answer holds for the time at which it was given: it is dropped if the descriptor was
    /// closed or opened anew between the question and the answer.
    pub(crate) fn look(&mut self) {
        self.drain(now());
        // Files and what is not known first: connections wait for the next look if need be.
        let mut questions = self.account.descriptors.open_questions();
        let is_connection = |end: &End| matches!(end, End::Tcp(_) | End::Tls(_));
        // Some have no answer, and must not stand before the others each time.
        let first = self.asked.checked_rem(questions.len()).unwrap_or(0);
        self.asked = self.asked.wrapping_add(QUESTIONS_MAX);
        questions.rotate_left(first);
        questions.sort_by_key(|(_, end)| is_connection(end));
        questions.truncate(QUESTIONS_MAX);
        let (others, connections) =
            questions.split_at(questions.partition_point(|(_, end)| !is_connection(end)));
        for questions in others.chunks(QUESTIONS_AT_ONCE) {
            self.ask(questions, &mut Sockets::default());
        }
        let mut sockets = Sockets::default();
        for questions in connections.chunks(QUESTIONS_AT_ONCE) {
            self.ask(questions, &mut sockets);
        }
    }

    /// Asks, with a look at the rings on either side.
    fn ask(&mut self, questions: &[(Descriptor, End)], sockets: &mut Sockets) {
        let answers = look::answers(questions, sockets);
        self.drain(now());
        for (descriptor, end, found) in answers {
            if self.account.descriptors.known(descriptor) == Some(end) {
                self.account.name(descriptor, end, found.end);
                self.account.note_addresses(found);
            }
        }
    }

    /// Enters all records up to a time, in the order of their times.
    fn drain(&mut self, until: u64) {
        let mut bytes = Vec::new();
        let mut records = std::mem::take(&mut self.later);
        for processor in &mut self.processors {
            bytes.clear();
            if let Some(ring) = &mut processor.ring {
                ring.take(&mut bytes);
            }
            records.extend(self.formats.records(&bytes));
        }
        records.sort_by_key(|record| record.time);
        let first_later = records.partition_point(|record| record.time <= until);
        self.later = records.split_off(first_later);
        for record in &records {
            self.account.enter(record);
        }
    }

    /// Who was followed and has not ended, up to the last look.
    pub(crate) fn living(&self) -> BTreeSet<u32> {
        self.account.living()
    }

    /// What was seen up to the last look.
    pub(crate) fn seen(&self) -> Seen {
        self.account.seen()
    }
}

/// The largest ring that is permitted.
fn ring(event: &OwnedFd) -> Result<Ring, Errno> {
    let mut pages = PAGES_MAX;
    loop {
        match Ring::map(event.as_fd(), pages) {
            Err(Errno::PERM | Errno::NOMEM) if pages > 1 => pages /= 2,
            ring => return ring,
        }
    }
}

/// An expression that fits the calls that matter.
fn filter() -> CString {
    let numbers = call::numbers().chain(descriptors::CALLS);
    let terms: Vec<String> = numbers.map(|number| format!("id == {number}")).collect();
    CString::new(terms.join(" || ")).expect("numbers hold no NUL")
}

fn failed(call: &'static str, thread: u32, source: Errno) -> TraceError {
    match source {
        Errno::PERM | Errno::ACCESS => TraceError::Forbidden,
        Errno::MFILE | Errno::NFILE => TraceError::Descriptors { thread },
        _ => TraceError::Call { call, source },
    }
}

/// `CLOCK_MONOTONIC`, in nanoseconds.
fn now() -> u64 {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    let (seconds, rest) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + rest.unwrap_or(0)
}

/// Reads `0-1,4`.
fn numbers(list: &str) -> Vec<i32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<i32>().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests;
