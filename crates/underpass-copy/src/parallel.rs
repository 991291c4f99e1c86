//! Several connections that move ranges of one file at once, each into its place.
//!
//! The first failure closes the others' connections; its reason is the one that is told. Of a
//! server every further connection must be given the same version, which If-Range and a strong
//! validator make sure of; without one there is one connection.
//!
//! Source: RFC 9110 §13.1.5, §14, §15.3.7.3.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::net::Shutdown;

use crate::carry::{Place, carry};
use crate::drive::{Drain, Drive, Event, Stop};
use crate::http::url::Url;
use crate::http::{self, Body, Connection, Validator};
use crate::patient::Stretch;
use crate::pieces::{Keeper, Pieces};
use crate::range::Range;
use crate::request::Request;
use crate::resume::{self, OVERLAP_BYTES};

/// A range below this is not worth a connection of its own.
pub(crate) const SHARE_BYTES_MIN: u64 = 1 << 20;

/// What the connections share.
pub(crate) struct Crew {
    /// Those that are open, by connection.
    sockets: Mutex<BTreeMap<usize, OwnedFd>>,
    /// The first failure.
    failed: Mutex<Option<Stop>>,
    /// Bytes in place, by connection.
    done: Arc<Vec<AtomicU64>>,
}

/// The list of what is there is written so often.
const KEPT_EVERY: Duration = Duration::from_millis(500);

impl Crew {
    pub(crate) fn new(connections: u64) -> Self {
        let done = (0..connections).map(|_| AtomicU64::new(0)).collect();
        Self { sockets: Mutex::default(), failed: Mutex::default(), done: Arc::new(done) }
    }

    /// Has a connection closed with the others.
    ///
    /// # Errors
    ///
    /// The socket's, and one of its own if another connection has failed already.
    pub(crate) fn join(&self, index: usize, socket: io::Result<OwnedFd>) -> io::Result<()> {
        let mut sockets = self.sockets();
        if self.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Err(io::Error::other("another connection has failed"));
        }
        sockets.insert(index, socket?);
        Ok(())
    }

    fn sockets(&self) -> MutexGuard<'_, BTreeMap<usize, OwnedFd>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, stop: Stop) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(stop);
        for socket in self.sockets().values() {
            let closed = rustix::net::shutdown(socket, Shutdown::Both);
            debug_assert_ne!(closed, Err(rustix::io::Errno::NOTSOCK), "they are sockets");
        }
    }

    /// Runs the first share on this thread and the others on threads of their own, each with a
    /// drive; the accounts become one, and what has arrived is kept on the way.
    pub(crate) fn work(
        &self,
        (request, keeper): (&Request, Option<&Keeper<'_>>),
        drive: &mut Drive<'_>,
        first: impl FnOnce(&mut Drive<'_>) -> Result<(), Stop>,
        other: &(impl Fn(usize, &mut Drive<'_>) -> Result<(), Stop> + Sync),
    ) -> Result<(), Stop> {
        let before = drive.done;
        drive.beside = Some((Arc::clone(&self.done), before));
        let (ended, ending) = mpsc::channel::<()>();
        let interrupt = drive.interrupt;
        let limit = request.limit_bytes_per_s.map(|limit| limit / self.done.len() as u64);
        drive.set_limit(limit);
        let others = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            if let Some(keeper) = keeper {
                scope.spawn(|| self.keep(keeper, ending));
            }
            for (index, counter) in self.done.iter().enumerate().skip(1) {
                threads.push(scope.spawn(move || {
                    let mut watch = |event| {
                        if let Event::Progress { done, .. } = event {
                            counter.store(done, Ordering::Release);
                        }
                    };
                    let Request { policy, stability, .. } = *request;
                    let mut own = Drive::new(interrupt, &mut watch, policy, stability, limit);
                    if let Err(stop) = other(index, &mut own) {
                        self.fail(stop);
                    }
                    self.sockets().remove(&index);
                    counter.store(own.done, Ordering::Release);
                    (own.ledger, own.through_user_space, own.outside_calls, own.done)
                }));
            }
            if let Err(stop) = first(drive) {
                self.fail(stop);
            }
            self.sockets().remove(&0);
            if let Some(own) = self.done.first() {
                own.store(drive.done.saturating_sub(before), Ordering::Release);
            }
            let ends = threads.into_iter().map(|thread| thread.join().expect("it does not panic"));
            let ends = ends.collect::<Vec<_>>();
            drop(ended);
            ends
        });
        drive.beside = None;
        for (ledger, through_user_space, calls, done) in others {
            drive.ledger += &ledger;
            drive.through_user_space += through_user_space;
            drive.outside_calls += calls;
            drive.done += done;
        }
        if let Some(keeper) = keeper
            && let Err(errno) = keeper.note(&self.done)
        {
            self.fail(Stop::call("keeping the list of what has arrived", errno));
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }

    /// Keeps the list until all have ended.
    fn keep(&self, keeper: &Keeper<'_>, ending: mpsc::Receiver<()>) {
        while ending.recv_timeout(KEPT_EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
            if let Err(errno) = keeper.note(&self.done) {
                self.fail(Stop::call("keeping the list of what has arrived", errno));
                return;
            }
        }
    }
}

/// The keeper of a part that is to be gone on with. One connection that brings the end of it
/// needs none: its length says as much.
pub(crate) fn keeper<'f>(
    request: &Request,
    part: &'f File,
    before: &Pieces,
    connections: usize,
) -> Result<Option<Keeper<'f>>, Stop> {
    if !request.resume {
        return Ok(None);
    }
    match Keeper::new(part, before.clone(), connections) {
        Ok(keeper) => Ok(Some(keeper)),
        Err(_) if connections == 1 && before.is_prefix() => Ok(None),
        Err(errno) => Err(Stop::call("keeping the list of what has arrived", errno)),
    }
}

/// Whether ranges of what this is the first answer of can be put together.
fn may_divide(body: &Body<'_>) -> bool {
    body.validator.as_ref().is_some_and(Validator::is_strong)
}

/// Brings what `pieces` of the file lacks: the first share by `body`, which stands at the first
/// gap, and the others by asking for them. Returns how many bytes came.
pub(crate) fn fetch(
    request: &Request,
    drive: &mut Drive<'_>,
    (url, body): (&Url, &mut Body<'_>),
    (file, pieces): (&File, &Pieces),
) -> Result<u64, Stop> {
    let mut most = u64::from(request.parallel.get());
    if most > 1 && !may_divide(body) {
        drive.note(format!(
            "{url} has no strong validator, which would tell that ranges are of one version: it \
             comes over one connection"
        ));
        most = 1;
    }
    let shares = pieces.shares(most);
    // The file begins with this byte of the representation.
    let base = match request.range {
        Range::Whole => 0,
        Range::From { first, .. } => first,
        Range::Suffix(_) => body.start,
    };
    let validator = body.validator.clone();
    let (first, to) = shares[0];
    body.limit(to - first);
    let crew = Crew::new(shares.len() as u64);
    crew.join(0, body.socket()).map_err(|e| Stop::call("connecting", e))?;
    let keeper = keeper(request, file, pieces, shares.len())?;
    for (index, (from, _)) in shares.iter().enumerate() {
        keeper.iter().for_each(|keeper| keeper.begin(index, *from));
    }
    let before = drive.done;
    let own = |drive: &mut Drive<'_>| {
        let drain = Drain::File { file: file.as_fd(), at: first };
        carry(drive, body.content(), Place::Kernel(drain), None)?;
        // The server has more to say here, and may serve one connection at a time.
        body.close();
        Ok(())
    };
    crew.work((request, keeper.as_ref()), drive, own, &|index, drive| {
        let share = shares[index];
        let overlap = pieces.before(share.0).min(OVERLAP_BYTES);
        ask_for(drive, (&crew, index), (url, base, validator.as_ref()), (file, share, overlap))
    })?;
    Ok(drive.done - before)
}

/// One connection's share, behind some bytes that are there, to compare.
fn ask_for(
    drive: &mut Drive<'_>,
    (crew, index): (&Crew, usize),
    (url, base, validator): (&Url, u64, Option<&Validator>),
    (file, (from, to), overlap): (&File, (u64, u64), u64),
) -> Result<(), Stop> {
    let wrong = |why| Stop::call("asking for a range", io::Error::other(why));
    let (first, last) = (base + from - overlap, base + to - 1);
    let range = Range::From { first, last: Some(last) };
    // A server that does not answer must not outlast the others' failure.
    let met = |connection: &Connection<'_>| crew.join(index, connection.socket().fd.try_clone());
    let answer = http::ask(url, range, validator, drive.interrupt, &met)
        .map_err(|error| Stop::call("asking for a range", io::Error::other(error)))?;
    let mut body = Body::new(answer);
    let is_it = body.is_range && body.start == first && body.len() == Some(last - first + 1);
    if !is_it || body.validator.as_ref() != validator {
        return Err(wrong("the server gave another range, or another version"));
    }
    let mut there = Stretch { file, at: from - overlap, end: from };
    let differs = resume::compare(drive, &mut there, &mut body)?;
    if let Some(at) = differs {
        let why = format!("what is there differs from the source at byte {at}");
        return Err(Stop::call("asking for a range", io::Error::other(why)));
    }
    let drain = Drain::File { file: file.as_fd(), at: from };
    carry(drive, body.content(), Place::Kernel(drain), None).map(|_| ())
}
