//! Copies for every peer that comes, several at once where they do not get in each other's way.
//!
//! A slow or silent peer holds its own place and nobody else's; while all places are taken,
//! further peers wait in the kernel's queue. What can be read or written by one at a time only, a
//! stream or one file, is: its peers come one after the other.
//!
//! Source: accept(2), ERRORS; listen(2).

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::drive::Event;
use crate::endpoint::Endpoint;
use crate::error::{CopyError, Failure};
use crate::outlet;
use crate::report::Report;
use crate::request::{Request, verifies};
use crate::session::Session;

/// Peers that are served at once, unless the request has another number.
const PEERS_MAX: usize = 64;

/// Accepting is tried again after so long when it failed: descriptors or memory may be short.
const PAUSE: Duration = Duration::from_millis(100);

/// Why peers of this request are served one after the other; `None` if several can be at once.
pub(crate) fn one_at_a_time(request: &Request) -> Option<&'static str> {
    let Request { source, sink, .. } = request;
    if source.is_listening() && sink.is_listening() {
        return Some("both ends wait for a peer");
    }
    if verifies(request) && request.parallel.get() > 1 {
        return Some("further connections of one peer cannot be told from other peers");
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

/// Whether a peer that verifies is to send all over one connection, since a further one of its
/// could not be told from another peer's.
pub(crate) fn takes_one_connection(request: &Request) -> bool {
    request.keep_listening && request.source.is_listening() && one_at_a_time(request).is_none()
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
        let places = Places::new(self.peers_max());
        let is_over = AtomicBool::new(false);
        let tell = |answer| {
            if told(answer).is_break() {
                is_over.store(true, Ordering::Relaxed);
            }
        };
        let tell = &tell;
        std::thread::scope(|scope| {
            loop {
                let place = places.take();
                let peer = self.accept();
                if is_over.load(Ordering::Relaxed) || self.interrupt().signal().is_some() {
                    break;
                }
                let cannot = |error: CopyError| {
                    tell(Err(self.without_peer(error)));
                    // A signal ends the wait, and the next round the loop.
                    self.interrupt().wait(&[], Some(Instant::now() + PAUSE))
                };
                let serve = move |peer| {
                    let answer = self.once(Some(peer), &mut |event| watcher(event));
                    tell(answer);
                    drop(place);
                };
                let failed = match peer {
                    Ok(peer) if self.peers_max() == 1 => {
                        serve(peer);
                        continue;
                    }
                    Ok(peer) => {
                        let thread = std::thread::Builder::new();
                        match thread.spawn_scoped(scope, move || serve(peer)) {
                            Ok(_) => continue,
                            Err(error) => {
                                CopyError::open("start a thread for a peer at", self.door(), error)
                            }
                        }
                    }
                    Err(error) => error,
                };
                if cannot(failed).is_err() {
                    break;
                }
            }
        });
    }
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
