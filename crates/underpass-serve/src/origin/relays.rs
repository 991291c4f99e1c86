//! How many answers are relayed at a time, and which of them makes room.
//!
//! Each has a thread and some memory. Where there are as many as may be, the one whose client has
//! taken nothing for the longest time is cut: clients who take nothing are in the way of none who
//! do.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use underpass_client::Interrupt;

use super::lock;

/// How long a client has taken nothing whose answer makes room.
const SLOW: Duration = Duration::from_secs(5);

/// How long a request waits for room before it is a 503.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it looks whether a client has become slow.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Those that are under way.
#[derive(Debug)]
pub(super) struct Relays {
    max: usize,
    state: Mutex<State>,
    left: Notify,
}

#[derive(Debug, Default)]
struct State {
    all: Vec<Arc<Progress>>,
    is_closed: bool,
}

/// How far one is.
#[derive(Debug)]
struct Progress {
    interrupt: Interrupt,
    /// Since when its client has taken nothing though there is something.
    waits: Mutex<Option<Instant>>,
    cut: Notify,
}

/// A place among them.
#[derive(Debug)]
pub(super) struct Relay {
    relays: Arc<Relays>,
    progress: Arc<Progress>,
}

impl Relays {
    /// Room for this many.
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, state: Mutex::default(), left: Notify::new() })
    }

    /// A place, for which it waits a while; `None` without one.
    pub(super) async fn begin(self: &Arc<Self>, interrupt: Interrupt) -> Option<Relay> {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = self.left.notified();
            let now = Instant::now();
            if let Some(relay) = self.try_begin(&interrupt, now) {
                return Some(relay);
            }
            if now >= until || lock(&self.state).is_closed {
                return None;
            }
            tokio::select! {
                () = left => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    fn try_begin(self: &Arc<Self>, interrupt: &Interrupt, now: Instant) -> Option<Relay> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return None;
        }
        if state.all.len() >= self.max {
            let waits = |(place, it): (usize, &Arc<Progress>)| Some(((*lock(&it.waits))?, place));
            let (since, place) = state.all.iter().enumerate().filter_map(waits).min()?;
            if now.saturating_duration_since(since) < SLOW {
                return None;
            }
            state.all.swap_remove(place).end();
        }
        let interrupt = interrupt.clone();
        let (waits, cut) = Default::default();
        let progress = Arc::new(Progress { interrupt, waits, cut });
        state.all.push(Arc::clone(&progress));
        Some(Relay { relays: Arc::clone(self), progress })
    }

    /// Cuts all, and lets none begin.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.is_closed = true;
        let all = std::mem::take(&mut state.all);
        drop(state);
        all.iter().for_each(|it| it.end());
        self.left.notify_waiters();
    }
}

impl Progress {
    fn end(&self) {
        self.interrupt.end();
        self.cut.notify_one();
    }
}

impl Relay {
    /// What ends its waits for the origin.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.progress.interrupt
    }

    /// Gives the client a piece; whether it is to have more. For a thread that may wait.
    pub(super) fn give(
        &self,
        runtime: &Handle,
        pieces: &mpsc::Sender<io::Result<Bytes>>,
        piece: io::Result<Bytes>,
    ) -> bool {
        let piece = match pieces.try_send(piece) {
            Ok(()) => return true,
            Err(mpsc::error::TrySendError::Closed(_)) => return false,
            Err(mpsc::error::TrySendError::Full(piece)) => piece,
        };
        *lock(&self.progress.waits) = Some(Instant::now());
        let taken = runtime.block_on(async {
            tokio::select! {
                sent = pieces.send(piece) => sent.is_ok(),
                () = self.progress.cut.notified() => false,
            }
        });
        *lock(&self.progress.waits) = None;
        taken
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.relays.state).all.retain(|it| !Arc::ptr_eq(it, &self.progress));
        self.relays.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether it has made room for another.
    fn is_cut(relay: &Relay) -> bool {
        relay.interrupt().signal().is_some()
    }

    fn interrupt() -> Interrupt {
        Interrupt::never().unwrap()
    }

    #[test]
    fn the_one_whose_client_is_slowest_makes_room() {
        let (relays, now) = (Relays::new(3), Instant::now());
        let begin = |after| relays.try_begin(&interrupt(), now + after);
        let all = [(); 3].map(|()| begin(Duration::ZERO).unwrap());
        assert!(begin(SLOW * 100).is_none(), "all take something");
        for (relay, since) in all.iter().zip([1, 0, 2]) {
            *lock(&relay.progress.waits) = Some(now + Duration::from_secs(since));
        }
        assert!(begin(SLOW - Duration::from_millis(1)).is_none(), "not for long enough");
        let fourth = begin(SLOW).unwrap();
        assert_eq!(all.each_ref().map(is_cut), [false, true, false]);
        drop(all);
        assert!(!is_cut(&fourth));
        assert_eq!(lock(&relays.state).all.len(), 1);
    }

    #[test]
    fn all_end_when_it_is_closed_and_none_begins() {
        let relays = Relays::new(2);
        let relay = relays.try_begin(&interrupt(), Instant::now()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (pieces, _receiver) = mpsc::channel(1);
        let piece = || Ok(Bytes::from_static(b"x"));
        assert!(relay.give(runtime.handle(), &pieces, piece()));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| relay.give(runtime.handle(), &pieces, piece()));
            let waits = || lock(&relay.progress.waits).is_some().then_some(());
            underpass_testkit::wait::until(Duration::from_secs(20), waits).unwrap();
            relays.close();
            assert!(!waiting.join().unwrap());
        });
        assert!(is_cut(&relay));
        assert!(relays.try_begin(&interrupt(), Instant::now()).is_none());
    }
}
