//! Copies for every peer that connects, for several at once if they do not disturb each other.
//!
//! A slow or silent peer takes one place and delays no one else; while all places are taken,
//! further peers wait in the kernel's queue. A stream or a single file serves its peers one after
//! the other. A peer that verifies is accepted before it has a place, because its connection may
//! belong to a transfer that has one.
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
use underpass_client::{Interrupt, WaitingStream};

use crate::drive::Event;
use crate::error::{CopyError, Failure};
use crate::exchange::greeting::{GREETING_TIMEOUT, Word};
use crate::exchange::group::Peer;
use crate::report::Report;
use crate::request::{one_at_a_time, verifies};
use crate::session::{Outcome, Session};

/// How many peers are served at once, unless the request says otherwise.
const PEERS_MAX: usize = 64;

/// Connections that have not sent their greeting; more are accepted when these have, or are
/// closed.
const STRANGERS_MAX: usize = 64;

/// Peers that verify and wait for their turn; more are refused.
const QUEUE_MAX: usize = 64;

/// How much a peer may have sent before it reads that it is refused.
const REFUSED_BYTES_MAX: u64 = 64 * 1024;

/// How long until accepting is tried again after it failed: descriptors or memory may be short.
const PAUSE: Duration = Duration::from_millis(100);

impl Session {
    /// How many peers [`Self::serve`] serves at once.
    #[must_use]
    pub fn peers_max(&self) -> usize {
        if one_at_a_time(self.request()).is_some() {
            return 1;
        }
        self.request().peers_max.map_or(PEERS_MAX, NonZeroUsize::get)
    }

    /// Copies for each peer that connects to the listening end, until a signal comes or `report`
    /// returns `Break`; then it waits for the copies under way, which a signal ends.
    ///
    /// `report` is called with the outcome of each copy, on the thread that made it.
    pub fn serve(
        &self,
        watcher: &(dyn Fn(Event) + Sync),
        report: &(dyn Fn(Result<Report, Box<Failure>>) -> ControlFlow<()> + Sync),
    ) {
        let (places, queue) = (Places::new(self.peers_max()), Places::new(QUEUE_MAX));
        let is_ended = AtomicBool::new(false);
        let ended = |answer| {
            if report(answer).is_break() {
                is_ended.store(true, Ordering::Relaxed);
            }
        };
        let is_over = || is_ended.load(Ordering::Relaxed) || self.interrupt().signal().is_some();
        let once = |peer, _place: Place<'_>| {
            ended(self.once(Some(peer), &mut |event| watcher(event)));
        };
        let cannot = |error| ended(Err(self.without_copy(error, &Outcome::new())));
        if !verifies(self.request()) {
            return self.each_peer(self.interrupt(), (&places, &is_over), &cannot, &|fd, place| {
                once(Peer { fd, group: None }, place);
            });
        }
        let strangers = Places::new(STRANGERS_MAX);
        self.each_peer(self.interrupt(), (&strangers, &is_over), &cannot, &|fd, stranger| {
            let mut outcome = Outcome::new();
            let turn = self.greeted(fd, &mut outcome).and_then(|peer| {
                drop(stranger);
                peer.map_or(Ok(None), |peer| self.turn(peer, &outcome, &places, &queue))
            });
            match turn {
                Ok(Some((peer, place))) => once(peer, place),
                Ok(None) => {}
                Err(error) => ended(Err(self.without_copy(error, &outcome))),
            }
        });
    }

    /// Waits for a place for a peer that has sent its greeting; `None` if too many wait.
    fn turn<'p>(
        &self,
        peer: Peer,
        outcome: &Outcome,
        places: &'p Places,
        queue: &Places,
    ) -> Result<Option<(Peer, Place<'p>)>, CopyError> {
        if let Some(place) = places.try_take() {
            return Ok(Some((peer, place)));
        }
        let Some(_waiting) = queue.try_take() else {
            let refused = refuse(&peer, self.interrupt());
            return refused.map(|()| None).map_err(|error| self.greeting_failed(error, outcome));
        };
        let queued = WaitingStream::new(&peer.fd, self.interrupt()).write_all(Word::Queued.bytes());
        queued.map_err(|error| self.greeting_failed(error, outcome))?;
        Ok(Some((peer, places.take())))
    }

    /// Works for the one peer that is served, and meanwhile accepts its further connections. Other
    /// peers are refused.
    pub(crate) fn accepting_while<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        let over = Interrupt::never()?;
        let strangers = Places::new(STRANGERS_MAX);
        let is_over = || over.signal().is_some();
        let ignore = |_| {};
        let sort = |fd, _stranger: Place<'_>| {
            // A peer that greets in another way, or leaves, would be refused anyway.
            if let Ok(Some(peer)) = self.greet_peer(fd, &over) {
                refuse(&peer, &over).unwrap_or_default();
            }
        };
        Ok(std::thread::scope(|scope| {
            scope.spawn(|| self.each_peer(&over, (&strangers, &is_over), &ignore, &sort));
            let answer = work();
            over.end();
            answer
        }))
    }

    /// Gives each peer that connects a place and a thread, until it is over; then waits for the
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
                            Err(error) => CopyError::open(
                                "start a thread for a peer at",
                                self.listening_end(),
                                error,
                            ),
                        }
                    }
                    Err(error) => error,
                };
                failed(error);
                // A signal ends the wait, and then the next round ends the loop.
                if interrupt.wait(&[], Some(Instant::now() + PAUSE)).is_err() {
                    break;
                }
            }
        });
    }
}

/// Tells a peer that has sent its greeting that it is not served.
fn refuse(peer: &Peer, interrupt: &Interrupt) -> io::Result<()> {
    let mut stream = WaitingStream::new(&peer.fd, interrupt);
    stream.write_all(Word::Refused.bytes())?;
    rustix::net::shutdown(&peer.fd, Shutdown::Write)?;
    // What it sends meanwhile would turn the close into a reset, and the word would be lost.
    stream.must_end("the peer's close", Some(GREETING_TIMEOUT));
    io::copy(&mut stream.take(REFUSED_BYTES_MAX), &mut io::sink()).map(|_| ())
}

/// Places for peers; each is taken by one peer.
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

    /// A free place, if there is one.
    fn try_take(&self) -> Option<Place<'_>> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(Place(self))
    }

    /// Waits for a free place.
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
