//! Copies for every peer that comes, several at once where they do not get in each other's way.
//!
//! A slow or silent peer holds its own place and nobody else's; while all places are taken,
//! further peers wait in the kernel's queue. What can be read or written by one at a time only, a
//! stream or one file, is: its peers come one after the other. A peer that verifies is accepted
//! before it has a place, because its connection may belong to a transfer that has one.
//!
//! Source: accept(2), ERRORS; listen(2).

use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::Shutdown;

use crate::company::Visitor;
use crate::drive::Event;
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Failure};
use crate::greeting::{PATIENCE, Word};
use crate::interrupt::Interrupt;
use crate::outlet;
use crate::patient::Patient;
use crate::report::Report;
use crate::request::{Request, verifies};
use crate::session::{Outcome, Session};

/// Peers that are served at once, unless the request has another number.
const PEERS_MAX: usize = 64;

/// Connections that have not greeted yet; further ones are accepted when these have, or are given
/// up.
const STRANGERS_MAX: usize = 64;

/// Peers that verify and wait for their turn; further ones are refused.
const QUEUE_MAX: usize = 64;

/// What a peer may have said before it hears that it is refused.
const REFUSED_BYTES_MAX: u64 = 64 * 1024;

/// Accepting is tried again after so long when it failed: descriptors or memory may be short.
const PAUSE: Duration = Duration::from_millis(100);

/// Why peers of this request are served one after the other; `None` if several can be at once.
pub(crate) fn one_at_a_time(request: &Request) -> Option<&'static str> {
    let Request { source, sink, .. } = request;
    if source.is_listening() && sink.is_listening() {
        return Some("both ends wait for a peer");
    }
    let other = if source.is_listening() { sink } else { source };
    match other {
        Endpoint::Path(path) if source.is_listening() => (!path.is_dir())
            .then_some("a file has one writer at a time; in a directory each peer gets a file"),
        Endpoint::Path(path) => outlet::is_special(path).then_some("it can be read once only"),
        Endpoint::Standard | Endpoint::Descriptor(_) => Some("a stream is for one at a time"),
        Endpoint::Url(_) if source.is_listening() => Some("a URL has one writer at a time"),
        Endpoint::Url(_)
        | Endpoint::Tcp(_)
        | Endpoint::Unix(_)
        | Endpoint::TcpListen(_)
        | Endpoint::UnixListen(_) => None,
    }
}

impl Session {
    /// Peers that [`Self::serve`] serves at once.
    #[must_use]
    pub fn peers_max(&self) -> usize {
        if one_at_a_time(self.request()).is_some() {
            return 1;
        }
        self.request().peers_max.map_or(PEERS_MAX, NonZeroUsize::get)
    }

    /// Copies for each peer that comes to the end that listens, until a signal, or until `told`
    /// breaks; then it waits for the copies under way, which a signal ends.
    ///
    /// `told` hears of each copy when it ends, on the thread that made it.
    pub fn serve(
        &self,
        watcher: &(dyn Fn(Event) + Sync),
        told: &(dyn Fn(Result<Report, Box<Failure>>) -> ControlFlow<()> + Sync),
    ) {
        let (places, queue) = (Places::new(self.peers_max()), Places::new(QUEUE_MAX));
        let is_ended = AtomicBool::new(false);
        let tell = |answer| {
            if told(answer).is_break() {
                is_ended.store(true, Ordering::Relaxed);
            }
        };
        let is_over = || is_ended.load(Ordering::Relaxed) || self.interrupt().signal().is_some();
        let once = |visitor, _place: Place<'_>| {
            tell(self.once(Some(visitor), &mut |event| watcher(event)));
        };
        let cannot = |error| tell(Err(self.without_copy(error, &Outcome::new())));
        if !verifies(self.request()) {
            return self.each_peer(self.interrupt(), (&places, &is_over), &cannot, &|fd, place| {
                once(Visitor { fd, company: None }, place);
            });
        }
        let strangers = Places::new(STRANGERS_MAX);
        self.each_peer(self.interrupt(), (&strangers, &is_over), &cannot, &|fd, stranger| {
            let mut outcome = Outcome::new();
            let turn = self.greeted(fd, &mut outcome).and_then(|visitor| {
                drop(stranger);
                visitor.map_or(Ok(None), |visitor| self.turn(visitor, &outcome, &places, &queue))
            });
            match turn {
                Ok(Some((visitor, place))) => once(visitor, place),
                Ok(None) => {}
                Err(error) => tell(Err(self.without_copy(error, &outcome))),
            }
        });
    }

    /// A place for a peer who has greeted, when others have left; `None` if too many wait.
    fn turn<'p>(
        &self,
        visitor: Visitor,
        outcome: &Outcome,
        places: &'p Places,
        queue: &Places,
    ) -> Result<Option<(Visitor, Place<'p>)>, CopyError> {
        if let Some(place) = places.try_take() {
            return Ok(Some((visitor, place)));
        }
        let Some(_waiting) = queue.try_take() else {
            let refused = refuse(&visitor, self.interrupt());
            return refused.map(|()| None).map_err(|error| self.unmet(error, outcome));
        };
        let told = Patient::new(&visitor.fd, self.interrupt()).write_all(Word::Queued.bytes());
        told.map_err(|error| self.unmet(error, outcome))?;
        Ok(Some((visitor, places.take())))
    }

    /// Works for the one peer that is served, while its further connections come to the end that
    /// listens. Other peers are refused.
    pub(crate) fn attended<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let over = Interrupt::never()?;
        let strangers = Places::new(STRANGERS_MAX);
        let is_over = || over.signal().is_some();
        let nobody = |_| {};
        let sort = |fd, _stranger: Place<'_>| {
            // Who greets in another way, or goes, was to be refused anyway.
            if let Ok(Some(visitor)) = self.meet_visitor(fd, &over) {
                refuse(&visitor, &over).unwrap_or_default();
            }
        };
        Ok(std::thread::scope(|scope| {
            scope.spawn(|| self.each_peer(&over, (&strangers, &is_over), &nobody, &sort));
            let answer = work();
            over.end();
            answer
        }))
    }

    /// Gives each peer that comes a place and a thread, until it is over; then it waits for the
    /// threads.
    fn each_peer<'p>(
        &self,
        interrupt: &Interrupt,
        (places, is_over): (&'p Places, &dyn Fn() -> bool),
        failed: &dyn Fn(CopyError),
        serve: &(dyn Fn(OwnedFd, Place<'p>) + Sync),
    ) {
        std::thread::scope(|scope| {
            loop {
                let place = places.take();
                let peer = self.accept(interrupt);
                if is_over() {
                    break;
                }
                let error = match peer {
                    Ok(fd) => {
                        let thread = std::thread::Builder::new();
                        match thread.spawn_scoped(scope, move || serve(fd, place)) {
                            Ok(_) => continue,
                            Err(error) => {
                                CopyError::open("start a thread for a peer at", self.door(), error)
                            }
                        }
                    }
                    Err(error) => error,
                };
                failed(error);
                // A signal ends the wait, and the next round the loop.
                if interrupt.wait(&[], Some(Instant::now() + PAUSE)).is_err() {
                    break;
                }
            }
        });
    }
}

/// Tells a peer who has greeted that it is not served.
fn refuse(visitor: &Visitor, interrupt: &Interrupt) -> io::Result<()> {
    let mut peer = Patient::new(&visitor.fd, interrupt);
    peer.write_all(Word::Refused.bytes())?;
    rustix::net::shutdown(&visitor.fd, Shutdown::Write)?;
    // What it says meanwhile would turn the close into a reset, which takes the word away.
    peer.must_end("its end", Some(PATIENCE));
    io::copy(&mut peer.take(REFUSED_BYTES_MAX), &mut io::sink()).map(|_| ())
}

/// Places for peers, of which each is held by one.
struct Places {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place that is given back on drop.
struct Place<'p>(&'p Places);

impl Places {
    const fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::new() }
    }

    /// A free one, if there is one.
    fn try_take(&self) -> Option<Place<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Place(self))
    }

    /// Waits for a free one.
    fn take(&self) -> Place<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
