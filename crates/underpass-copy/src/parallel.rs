//! Several connections that move ranges of one file at once.
//!
//! The first failure closes the other connections, and its reason is reported. A server must give
//! every connection the same version of the file, which If-Range and a strong validator make sure
//! of; without a strong validator there is one connection.
//!
//! Source: RFC 9110 §13.1.5, §14, §15.3.7.3.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::net::Shutdown;
use underpass::Sink;
use underpass_client::{Body, Connection, Interrupt, Range, Url, Validator};

use crate::asking::{self, Answers, Attempts, Remote};
use crate::drive::{Drive, Event, SharedProgress};
use crate::memory::{FileWriter, through_memory};
use crate::pieces::{Pieces, Recorder};
use crate::range_reader::RangeReader;
use crate::request::Request;
use crate::resume::{self, OVERLAP_BYTES};
use crate::stop::Stop;

/// The threads of one copy, a connection each, and what they share.
pub(crate) struct Workers {
    /// The open sockets, by connection.
    sockets: Mutex<BTreeMap<usize, OwnedFd>>,
    /// The first failure.
    failed: Mutex<Option<Stop>>,
    /// Bytes at the sink, by connection.
    done: Arc<Vec<AtomicU64>>,
}

/// How often the list of what has arrived is written.
const RECORD_INTERVAL: Duration = Duration::from_millis(500);

impl Workers {
    pub(crate) fn new(connections: u64) -> Self {
        let done = (0..connections).map(|_| AtomicU64::new(0)).collect();
        Self { sockets: Mutex::default(), failed: Mutex::default(), done: Arc::new(done) }
    }

    /// Adds a connection, to be closed when another fails.
    ///
    /// # Errors
    ///
    /// The socket's, and another if a connection has already failed.
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

    /// Runs the first share on this thread and each other one on its own thread, with its own
    /// drive. Adds up what they did, and records meanwhile what has arrived.
    pub(crate) fn run(
        &self,
        (request, recorder): (&Request, Option<&Recorder<'_>>),
        drive: &mut Drive<'_>,
        first: impl FnOnce(&mut Drive<'_>) -> Result<(), Stop>,
        other: &(impl Fn(usize, &mut Drive<'_>) -> Result<(), Stop> + Sync),
    ) -> Result<(), Stop> {
        let before = drive.done;
        drive.shared = Some(SharedProgress { moved: Arc::clone(&self.done), before });
        let (ended, ending) = mpsc::channel::<()>();
        let interrupt = drive.interrupt;
        let limit = request.limit_bytes_per_s.map(|limit| limit / self.done.len() as u64);
        drive.set_limit(limit);
        let others = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            if let Some(recorder) = recorder {
                scope.spawn(|| self.record(recorder, ending));
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
        drive.shared = None;
        for (ledger, through_user_space, calls, done) in others {
            drive.ledger += &ledger;
            drive.through_user_space += through_user_space;
            drive.outside_calls += calls;
            drive.done += done;
        }
        if let Some(recorder) = recorder
            && let Err(errno) = recorder.record(&self.done)
        {
            self.fail(Stop::call("writing the list of what has arrived", errno));
        }
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }

    /// Writes the list until all have ended.
    fn record(&self, recorder: &Recorder<'_>, ending: mpsc::Receiver<()>) {
        while ending.recv_timeout(RECORD_INTERVAL) == Err(mpsc::RecvTimeoutError::Timeout) {
            if let Err(errno) = recorder.record(&self.done) {
                self.fail(Stop::call("writing the list of what has arrived", errno));
                return;
            }
        }
    }
}

/// The recorder of a part that can be resumed later. A single connection that appends to it needs
/// no recorder: the length of the part says as much.
pub(crate) fn recorder<'f>(
    request: &Request,
    part: &'f File,
    before: &Pieces,
    connections: usize,
) -> Result<Option<Recorder<'f>>, Stop> {
    if !request.resume {
        return Ok(None);
    }
    match Recorder::new(part, before.clone(), connections) {
        Ok(recorder) => Ok(Some(recorder)),
        Err(_) if connections == 1 && before.is_prefix() => Ok(None),
        Err(errno) => Err(Stop::call("writing the list of what has arrived", errno)),
    }
}

/// Whether ranges of this representation can be put together.
fn may_divide(body: &Body<'_>) -> bool {
    body.validator.as_ref().is_some_and(Validator::is_strong)
}

/// Gets what `pieces` of the file lacks: the first share from `body`, which starts at the first
/// gap, and the others by asking for them. Returns how many bytes arrived.
pub(crate) fn fetch(
    request: &Request,
    drive: &mut Drive<'_>,
    (url, body): (&Url, &mut Body<'_>),
    (file, pieces): (&File, &Pieces),
) -> Result<u64, Stop> {
    let mut most = u64::from(request.parallel.get());
    if most > 1 && !may_divide(body) {
        drive.note(format!(
            "{url} has no strong validator, so ranges might be of different versions: using one \
             connection"
        ));
        most = 1;
    }
    let shares = pieces.shares(most);
    // The file begins with this byte of the representation.
    let base = match request.range {
        Range::Whole => 0,
        Range::From { first, .. } => first,
        Range::Suffix(_) => body.place.at,
    };
    let validator = body.validator.clone();
    let source = Remote { client: &request.client, url };
    let closed = || Stop::call("connecting", io::Error::from(io::ErrorKind::NotConnected));
    let interrupt = body.connection().ok_or_else(closed)?.socket().interrupt;
    let origin = Origin { source, base, validator: validator.as_ref(), file, pieces };
    let workers = Workers::new(shares.len() as u64);
    workers.join(0, body.socket()).map_err(Stop::when("connecting"))?;
    let recorder = recorder(request, file, pieces, shares.len())?;
    for (index, share) in shares.iter().enumerate() {
        recorder.iter().for_each(|recorder| recorder.begin(index, share.0, 0));
    }
    let before = drive.done;
    let returned = Returned::new(shares.len() - 1);
    let own = |drive: &mut Drive<'_>| {
        let mut share = shares[0];
        loop {
            body.want(share.1 - share.0);
            origin.receive(drive, body, share.0)?;
            // The server would send more here, and may serve one connection at a time.
            let close = || {
                workers.sockets().remove(&0);
                body.close();
            };
            let Some(next) = returned.next(share.1, close) else { return Ok(()) };
            share = next.share;
            recorder.iter().for_each(|it| it.begin(0, share.0, drive.done - before));
            drive.note(format!("{}; those bytes come over the first connection", next.why));
            // The server has taken a connection before, so it will take another.
            let mut attempts = Attempts::new(source.client, RETRIES_MIN);
            while body.connection().is_none() {
                match origin.ask(drive, interrupt, &workers, 0, share) {
                    Ok(next) => *body = next,
                    Err(Refused::Now(stop)) if attempts.again(&stop, None, drive) => {}
                    Err(Refused::Now(stop) | Refused::ForEver(stop)) => return Err(stop),
                }
            }
        }
    };
    workers.run((request, recorder.as_ref()), drive, own, &|index, drive| {
        let share = shares[index];
        let moved = match origin.ask(drive, drive.interrupt, &workers, index, share) {
            Ok(mut body) => origin.receive(drive, &mut body, share.0),
            Err(Refused::Now(why)) => {
                returned.give(share, why);
                Ok(())
            }
            Err(Refused::ForEver(stop)) => Err(stop),
        };
        returned.leave();
        moved
    })?;
    Ok(drive.done - before)
}

const ASKING: &str = "asking for a range";

/// How often the first connection is made again if another could not be.
const RETRIES_MIN: u32 = 3;

/// The bytes of the file from the first to before the second.
type Share = (u64, u64);

/// A share that another connection could not get.
struct Given {
    share: Share,
    why: Stop,
}

/// Shares that the first connection gets when it is done with its own, since a server may take only
/// a few connections.
struct Returned {
    /// With the number of other connections that may still return one.
    given: Mutex<(Vec<Given>, usize)>,
    changed: Condvar,
}

impl Returned {
    const fn new(others: usize) -> Self {
        Self { given: Mutex::new((Vec::new(), others)), changed: Condvar::new() }
    }

    fn give(&self, share: Share, why: Stop) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.0.push(Given { share, why });
    }

    fn leave(&self) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).1 -= 1;
        self.changed.notify_one();
    }

    /// That which begins at `at` or, after `close`, the next one, if any comes.
    fn next(&self, at: u64, close: impl FnOnce()) -> Option<Given> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = given.0.iter().position(|given| given.share.0 == at) {
            return Some(given.0.swap_remove(index));
        }
        close();
        while given.0.is_empty() && given.1 > 0 {
            given = self.changed.wait(given).unwrap_or_else(PoisonError::into_inner);
        }
        given.0.sort_unstable_by_key(|given| Reverse(given.share));
        given.0.pop()
    }
}

/// Why a connection did not get its share.
enum Refused {
    Now(Stop),
    ForEver(Stop),
}

/// A server's file, and the local one.
struct Origin<'u> {
    source: Remote<'u>,
    /// Where the local file begins in it.
    base: u64,
    validator: Option<&'u Validator>,
    file: &'u File,
    pieces: &'u Pieces,
}

impl Origin<'_> {
    /// Bytes right before a share that are there, and are compared.
    fn overlap(&self, share: Share) -> u64 {
        self.pieces.before(share.0).min(OVERLAP_BYTES)
    }

    fn range(&self, share: Share) -> Range {
        let first = self.base + share.0 - self.overlap(share);
        Range::From { first, last: Some(self.base + share.1 - 1) }
    }

    /// Asks for a share over one more connection.
    fn ask<'i>(
        &self,
        drive: &mut Drive<'_>,
        interrupt: &'i Interrupt,
        workers: &Workers,
        index: usize,
        share: Share,
    ) -> Result<Body<'i>, Refused> {
        // A server that does not answer must be given up when another connection fails.
        let connected = |it: &Connection<'_>| workers.join(index, it.socket().fd.try_clone());
        let Remote { client, url } = self.source;
        let body = client.get(url, self.range(share), self.validator, interrupt, &connected);
        let body = body.map_err(|error| Stop::call(ASKING, io::Error::other(error)));
        self.checked(drive, body.map_err(Refused::Now)?, index, share)
    }

    /// Compares the version, and bytes that are there already.
    fn checked<'i>(
        &self,
        drive: &mut Drive<'_>,
        mut body: Body<'i>,
        index: usize,
        share: Share,
    ) -> Result<Body<'i>, Refused> {
        let wrong = |why: String| Stop::call(ASKING, io::Error::other(why));
        let for_ever = |why: String| Refused::ForEver(wrong(why));
        let (url, overlap) = (self.source.url, self.overlap(share));
        if !body.is_range && index > 0 {
            return Err(Refused::Now(wrong(format!("{url} sent no range"))));
        } else if !body.is_range {
            // The first connection takes the share out of the whole.
            body = body.cut(url, self.range(share)).map_err(|why| for_ever(why.to_string()))?;
        }
        let is_it = body.place.at == self.base + share.0 - overlap;
        if !is_it || body.validator.as_ref() != self.validator {
            return Err(for_ever("the server sent another range, or another version".to_owned()));
        }
        body.want(overlap + share.1 - share.0);
        let mut there = RangeReader { file: self.file, at: share.0 - overlap, end: share.0 };
        let (interrupt, remote) = (drive.interrupt, self.source);
        let mut answers = Answers { remote, drive, body: &mut body };
        let differs = resume::compare(interrupt, &mut there, &mut answers);
        if let Some(at) = differs.map_err(Refused::ForEver)? {
            return Err(for_ever(format!("the file differs from the source at byte {at}")));
        }
        if let Some(why) = body.connection().and_then(Connection::in_user_space) {
            drive.pass_user_space(why);
        }
        Ok(body)
    }

    /// Moves all that is wanted of a body into the file.
    fn receive(&self, drive: &mut Drive<'_>, body: &mut Body<'_>, at: u64) -> Result<(), Stop> {
        let moved = asking::deliver(self.source, drive, body, &mut |drive, body, after| {
            if let Some(source) = body.source() {
                return drive.transfer(source, Sink::file(self.file, at + after));
            }
            let (len, file) = (body.remaining(), self.file);
            let mut to = FileWriter { file, at: at + after };
            through_memory(drive, &mut body.counted(), len, &mut to, None)
        });
        moved.map(|_| ())
    }
}
