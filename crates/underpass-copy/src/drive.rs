//! Runs the engine's transfers one after another: waits, limits the rate, reports progress.
//!
//! A signal ends every wait, and the ledger is exact whatever happens: what an error reports as
//! moved is what the sink has.
//!
//! Source: poll(2); `underpass::Transfer::step`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::PollFlags;
use rustix::io::Errno;
use underpass::{ErrorKind, Ledger, Method, Policy, Side, Sink, Source, Stability, Step, Transfer};

use crate::digest::Checksum;
use crate::http::{Connection, Secured};
use crate::interrupt::{Interrupt, Woken};
use crate::limit::Limit;
use crate::stop::Stop;

/// How often progress is reported.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What happens while bytes move.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Peers may connect to this address or path.
    Listening(String),
    /// How far the copy is.
    Progress {
        /// Bytes at the sink, holes and resumed bytes included.
        done: u64,
        /// Bytes there will be in the end, if that is known.
        total: Option<u64>,
        /// The method in use.
        method: Method,
    },
    /// Something the user should know that is not a failure.
    Note(String),
}

/// Where bytes come from, in a form that several transfers in a row can use.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Feed<'f> {
    File { file: BorrowedFd<'f>, offset: u64, len: u64 },
    Stream { fd: BorrowedFd<'f>, len: Option<u64> },
    Tls { stream: &'f Secured<'f>, len: Option<u64> },
}

/// Where they go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Drain<'f> {
    File {
        file: BorrowedFd<'f>,
        at: u64,
    },
    Stream(BorrowedFd<'f>),
    /// A server, which may answer before it has everything.
    Server(&'f Connection<'f>),
}

impl Drain<'_> {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File { file, .. } => *file,
            Self::Stream(fd) => *fd,
            Self::Server(connection) => connection.socket().fd.as_fd(),
        }
    }

    /// The same sink, this many bytes on.
    pub(crate) fn after(self, bytes: u64) -> Self {
        match self {
            Self::File { file, at } => Self::File { file, at: at + bytes },
            Self::Stream(_) | Self::Server(_) => self,
        }
    }
}

/// What a copy learns on its way, and the ledger does not say.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) holes: u64,
    pub(crate) checksum: Option<Checksum>,
    pub(crate) verified: bool,
}

/// The progress of all connections of one copy.
#[derive(Debug)]
pub(crate) struct SharedProgress {
    /// What each has moved; the first is the one with this drive.
    pub(crate) moved: Arc<Vec<AtomicU64>>,
    /// What was done before they began.
    pub(crate) before: u64,
}

/// What the transfers of one copy share.
pub(crate) struct Drive<'w> {
    pub(crate) interrupt: &'w Interrupt,
    watcher: &'w mut dyn FnMut(Event),
    pub(crate) policy: Policy,
    pub(crate) stability: Stability,
    pub(crate) ledger: Ledger,
    pub(crate) findings: Findings,
    /// Bytes that crossed user memory outside of the engine: TLS, framing.
    pub(crate) through_user_space: u64,
    /// Calls that moved them.
    pub(crate) outside_calls: u64,
    /// Why they did, where the kernel could have moved them.
    pub(crate) reasons: Vec<String>,
    /// Bytes at the sink, holes and resumed ones included.
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    /// Where several connections move ranges of the file.
    pub(crate) shared: Option<SharedProgress>,
    limit: Option<Limit>,
    reported: Instant,
}

impl std::fmt::Debug for Drive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive").field("done", &self.done).field("total", &self.total).finish()
    }
}

impl<'w> Drive<'w> {
    pub(crate) fn new(
        interrupt: &'w Interrupt,
        watcher: &'w mut dyn FnMut(Event),
        policy: Policy,
        stability: Stability,
        limit_bytes_per_s: Option<u64>,
    ) -> Self {
        Self {
            interrupt,
            watcher,
            policy,
            stability,
            ledger: Ledger::default(),
            findings: Findings::default(),
            through_user_space: 0,
            outside_calls: 0,
            reasons: Vec::new(),
            done: 0,
            total: None,
            shared: None,
            limit: limit_bytes_per_s.map(Limit::new),
            reported: Instant::now(),
        }
    }

    /// Notes why bytes of a connection pass through user space, if they do.
    pub(crate) fn explain(&mut self, connection: &Connection<'_>) {
        self.reasons.extend(connection.in_user_space().map(|why| why.to_string()));
    }

    /// How much may go at once within the rate limit; `usual` without a limit.
    pub(crate) fn block_bytes(&self, usual: usize) -> usize {
        let slice = self.limit.as_ref().map(Limit::slice);
        slice.and_then(|slice| usize::try_from(slice).ok()).map_or(usual, |slice| slice.min(usual))
    }

    /// Sets another rate limit.
    pub(crate) fn set_limit(&mut self, bytes_per_s: Option<u64>) {
        self.limit = bytes_per_s.map(Limit::new);
    }

    /// Reports progress; `moved` is not yet part of `done`.
    fn tell_progress(&mut self, moved: u64, method: Method) {
        self.reported = Instant::now();
        let (mut done, total) = (self.done + moved, self.total);
        if let Some(SharedProgress { moved, before }) = &self.shared
            && let [own, others @ ..] = &moved[..]
        {
            own.store(done.saturating_sub(*before), Ordering::Release);
            done += others.iter().map(|other| other.load(Ordering::Relaxed)).sum::<u64>();
        }
        (self.watcher)(Event::Progress { done, total, method });
    }

    pub(crate) fn tell(&mut self, event: Event) {
        (self.watcher)(event);
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.tell(Event::Note(text.into()));
    }

    /// Moves all of `feed`; returns how many bytes the sink took.
    pub(crate) fn transfer(&mut self, feed: Feed<'_>, drain: Drain<'_>) -> Result<u64, Stop> {
        let mut moved = 0;
        loop {
            let slice = self.limit.as_ref().map(Limit::slice);
            let (n, is_over) = self.slice(feed, drain, moved, slice)?;
            moved += n;
            self.pause(n)?;
            if is_over {
                return Ok(moved);
            }
        }
    }

    /// Moves memory.
    pub(crate) fn send(&mut self, bytes: Bytes, drain: Drain<'_>) -> Result<u64, Stop> {
        let len = bytes.len() as u64;
        let transfer = Transfer::new(Source::bytes(bytes), sink(&drain));
        let moved = self.run(transfer, None, &drain)?;
        debug_assert_eq!(moved, len, "a transfer of memory ends with its last byte");
        self.pause(moved)?;
        Ok(moved)
    }

    /// One transfer of at most `max` bytes, `moved` bytes into the feed.
    fn slice(
        &mut self,
        feed: Feed<'_>,
        drain: Drain<'_>,
        moved: u64,
        max: Option<u64>,
    ) -> Result<(u64, bool), Stop> {
        let drain = drain.after(moved);
        match feed {
            Feed::File { file, offset, len } => {
                let left = len - moved;
                let n = max.map_or(left, |max| max.min(left));
                let start = offset + moved;
                let source = Source::file(&file, start..start + n).map_err(|error| {
                    let there = rustix::fs::fstat(file).map_or(0, |found| found.st_size);
                    if u64::try_from(there).is_ok_and(|there| there < start) {
                        return Stop::short(moved, len);
                    }
                    Stop::call("reading the source", error)
                })?;
                let transfer = Transfer::new(source, sink(&drain))
                    .policy(self.policy_over(None, &drain))
                    .stability(self.stability);
                let moved = self.run(transfer, Some(file), &drain)?;
                Ok((moved, n == left))
            }
            Feed::Stream { fd, len } => {
                let left = len.map(|len| len - moved);
                let policy = self.policy_over(None, &drain);
                self.stream_slice((Source::stream(&fd), fd), policy, drain, left, max)
            }
            Feed::Tls { stream, len } => {
                let left = len.map(|len| len - moved);
                let fd = stream.socket().fd.as_fd();
                let policy = self.policy_over(Some(stream), &drain);
                self.stream_slice((stream.source(), fd), policy, drain, left, max)
            }
        }
    }

    /// The policy, where there is a choice: content is copied into and out of records that are made
    /// in user space, and the reason for those is kept.
    fn policy_over(&self, stream: Option<&Secured<'_>>, drain: &Drain<'_>) -> Policy {
        let from_user_space = stream.is_some_and(|stream| !stream.is_in_kernel());
        let to_user_space = match drain {
            Drain::Server(connection) => connection.in_user_space().is_some(),
            Drain::File { .. } | Drain::Stream(_) => false,
        };
        if from_user_space || to_user_space { Policy::Auto } else { self.policy }
    }

    fn stream_slice(
        &mut self,
        (source, fd): (Source<'_>, BorrowedFd<'_>),
        policy: Policy,
        drain: Drain<'_>,
        left: Option<u64>,
        max: Option<u64>,
    ) -> Result<(u64, bool), Stop> {
        let n = match (left, max) {
            (Some(left), Some(max)) => Some(left.min(max)),
            (left, max) => left.or(max),
        };
        let source = match n {
            Some(n) => source.take(n),
            None => source,
        };
        let transfer = Transfer::new(source, sink(&drain)).policy(policy);
        match self.run(transfer, Some(fd), &drain) {
            Ok(moved) => Ok((moved, n == left)),
            Err(Stop::Engine(error)) if left.is_none() && is_end(&error) => Ok((error.moved, true)),
            Err(stop) => Err(stop),
        }
    }

    fn run(
        &mut self,
        mut transfer: Transfer<'_>,
        source: Option<BorrowedFd<'_>>,
        drain: &Drain<'_>,
    ) -> Result<u64, Stop> {
        let answer = self.steps(&mut transfer, source, drain);
        self.ledger += transfer.ledger();
        self.done += transfer.moved();
        answer.map(|()| transfer.moved())
    }

    fn steps(
        &mut self,
        transfer: &mut Transfer<'_>,
        source: Option<BorrowedFd<'_>>,
        drain: &Drain<'_>,
    ) -> Result<(), Stop> {
        loop {
            if let Some(signal) = self.interrupt.signal() {
                return Err(Stop::Signal(signal));
            }
            match transfer.step().map_err(Stop::Engine)? {
                Step::Wait(Side::Source) => {
                    let fd = source.unwrap_or_else(|| drain.fd());
                    let waited = self.interrupt.wait_to_move(fd, PollFlags::IN);
                    waited.map_err(Stop::when("reading the source"))?;
                }
                Step::Wait(Side::Sink) => {
                    let waited = match drain {
                        Drain::Server(connection) => connection.wait_for_room(),
                        Drain::File { .. } | Drain::Stream(_) => {
                            self.interrupt.wait_to_move(drain.fd(), PollFlags::OUT)
                        }
                    };
                    waited.map_err(Stop::when("writing to the sink"))?;
                }
                Step::Done => return Ok(()),
                Step::Moved(_) | Step::Buffered(_) | Step::Cold { .. } | _ => {}
            }
            if self.reported.elapsed() >= PROGRESS_INTERVAL {
                let moved = transfer.moved();
                let method = most_used(if moved == 0 { &self.ledger } else { transfer.ledger() });
                self.tell_progress(moved, method);
            }
        }
    }

    /// Counts bytes that moved outside of the engine, and keeps to the rate.
    pub(crate) fn count_outside(&mut self, moved: u64, calls: u64) -> Result<(), Stop> {
        self.through_user_space += moved;
        self.outside_calls += calls;
        if let Some(signal) = self.interrupt.signal() {
            return Err(Stop::Signal(signal));
        }
        if self.reported.elapsed() >= PROGRESS_INTERVAL {
            self.tell_progress(0, Method::Copy);
        }
        self.pause(moved)
    }

    /// Waits until `moved` more bytes are within the limit.
    fn pause(&mut self, moved: u64) -> Result<(), Stop> {
        let Some(limit) = &mut self.limit else { return Ok(()) };
        let until = limit.due(moved);
        match self.interrupt.wait(&[], Some(until)) {
            Ok(Woken::Signal) => Err(Stop::Signal(self.interrupt.signal().unwrap_or(2))),
            Ok(Woken::Ready | Woken::Due) => Ok(()),
            Err(errno) => Err(Stop::call("waiting", errno)),
        }
    }
}

/// Whether a stream only ended before the limit, and all it had has arrived.
pub(crate) fn is_end(error: &underpass::Error) -> bool {
    matches!(error.kind, ErrorKind::Truncated { .. }) && error.buffered == 0
}

fn sink<'d>(drain: &'d Drain<'_>) -> Sink<'d> {
    match drain {
        Drain::File { file, at } => Sink::file(file, *at),
        Drain::Stream(fd) => Sink::stream(fd),
        Drain::Server(connection) => connection.sink(),
    }
}

/// The method that moved the most bytes; `Copy` before the first.
pub(crate) fn most_used(ledger: &Ledger) -> Method {
    let bytes = |method: &Method| ledger.of(*method).bytes;
    Method::ALL.iter().copied().rev().max_by_key(bytes).unwrap_or(Method::Copy)
}

/// Sets `O_NONBLOCK` on a stream, so that steps answer instead of waiting.
pub(crate) fn make_nonblocking(fd: &impl AsFd, on: bool) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    let mut wanted = flags;
    wanted.set(rustix::fs::OFlags::NONBLOCK, on);
    if wanted == flags { Ok(()) } else { rustix::fs::fcntl_setfl(fd, wanted) }
}
