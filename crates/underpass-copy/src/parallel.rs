//! Several connections that move ranges of one file at once.
//!
//! The first failure closes the other connections, and its reason is reported. A server must give
//! every connection the same version of the file, which If-Range and a strong validator make sure
//! of; without a strong validator there is one connection.
//!
//! Source: RFC 9110 §13.1.5, §14, §15.3.7.3.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use rustix::net::Shutdown;
use underpass::Sink;

use crate::asking::{self, Remote};
use crate::drive::{Drive, Event, SharedProgress};
use crate::http::url::Url;
use crate::http::{Body, Connection, Validator};
use crate::memory::{FileWriter, through_memory};
use crate::pieces::{Pieces, Recorder};
use crate::range::Range;
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
    let remote = Origin { source, base, validator: validator.as_ref() };
    let (first, to) = shares[0];
    body.limit(to - first);
    let workers = Workers::new(shares.len() as u64);
    workers.join(0, body.socket()).map_err(Stop::when("connecting"))?;
    let recorder = recorder(request, file, pieces, shares.len())?;
    for (index, (from, _)) in shares.iter().enumerate() {
        recorder.iter().for_each(|recorder| recorder.begin(index, *from));
    }
    let before = drive.done;
    let own = |drive: &mut Drive<'_>| {
        receive(drive, body, file, first)?;
        // The server would send more here, and may serve one connection at a time.
        body.close();
        Ok(())
    };
    workers.run((request, recorder.as_ref()), drive, own, &|index, drive| {
        let share = shares[index];
        let overlap = pieces.before(share.0).min(OVERLAP_BYTES);
        let wanted = Wanted { file, from: share.0, to: share.1, overlap };
        ask_for(drive, (&workers, index), &remote, &wanted)
    })?;
    Ok(drive.done - before)
}

/// A server's file.
struct Origin<'u> {
    source: Remote<'u>,
    /// Where the local file begins in it.
    base: u64,
    validator: Option<&'u Validator>,
}

/// Bytes of the local file that one connection gets.
struct Wanted<'f> {
    file: &'f File,
    from: u64,
    to: u64,
    /// Bytes right before them that are there, and are compared.
    overlap: u64,
}

/// Gets one share over a connection, after comparing some bytes that are there already.
fn ask_for(
    drive: &mut Drive<'_>,
    (workers, index): (&Workers, usize),
    remote: &Origin<'_>,
    wanted: &Wanted<'_>,
) -> Result<(), Stop> {
    let (Origin { source, base, validator }, Wanted { file, from, to, overlap }) = (remote, wanted);
    let wrong = |why| Stop::call("asking for a range", io::Error::other(why));
    let (first, last) = (base + from - overlap, base + to - 1);
    let range = Range::From { first, last: Some(last) };
    // A server that does not answer must be given up when another connection fails.
    let connected =
        |connection: &Connection<'_>| workers.join(index, connection.socket().fd.try_clone());
    let interrupt = drive.interrupt;
    let mut body = asking::ask(*source, range, *validator, (drive, interrupt), &connected)
        .map_err(|error| Stop::call("asking for a range", io::Error::other(error)))?;
    let is_it = body.is_range && body.place.at == first && body.len() == Some(last - first + 1);
    if !is_it || body.validator.as_ref() != *validator {
        return Err(wrong("the server sent another range, or another version"));
    }
    let mut there = RangeReader { file, at: from - overlap, end: *from };
    let differs = resume::compare(drive, &mut there, &mut body)?;
    if let Some(at) = differs {
        let why = format!("the file differs from the source at byte {at}");
        return Err(Stop::call("asking for a range", io::Error::other(why)));
    }
    if let Some(why) = body.connection().and_then(Connection::in_user_space) {
        drive.pass_user_space(why);
    }
    receive(drive, &mut body, file, *from)
}

/// Moves all of a body into a file.
fn receive(drive: &mut Drive<'_>, body: &mut Body<'_>, file: &File, at: u64) -> Result<(), Stop> {
    if let Some(source) = body.source() {
        return drive.transfer(source, Sink::file(file, at)).map(|_| ());
    }
    let len = body.len();
    through_memory(drive, body, len, &mut FileWriter { file, at }, None).map(|_| ())
}
