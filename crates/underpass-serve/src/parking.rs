//! The idle connections of a worker: bare transports, the longest idle first.
//!
//! All of them may idle for the same time, so they time out in the order in which they came, and
//! one timer serves them all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use crate::transport::Transport;

/// How long a new connection, whose request is still on its way, is not given up for another.
const NEW_FOR: Duration = Duration::from_secs(1);

/// The connections of one worker on which nothing happens.
#[derive(Debug)]
pub(crate) struct Parking {
    /// How long a connection may be idle before it is closed.
    idle_time: Duration,
    parked: RefCell<BTreeMap<u64, Parked>>,
    /// Parked so far.
    count: Cell<u64>,
    /// Whether a task waits for the next one to time out.
    is_timed: Cell<bool>,
}

/// How the stay of a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// There are bytes to read, or the client has closed.
    HasBytes,
    /// It has been idle for as long as it may.
    TimedOut,
    /// It was given up, or has failed.
    Over,
}

#[derive(Debug)]
struct Parked {
    since: Instant,
    is_new: bool,
    waker: Waker,
}

impl Parked {
    fn may_go(&self) -> bool {
        !self.is_new || self.since.elapsed() >= NEW_FOR
    }
}

impl Parking {
    pub(crate) fn new(idle_time: Duration) -> Self {
        let (parked, count, is_timed) = Default::default();
        Self { idle_time, parked, count, is_timed }
    }

    /// Connections that are parked now.
    pub(crate) fn len(&self) -> usize {
        self.parked.borrow().len()
    }

    /// Ends the stay of the connection that has been parked longest, of those whose time for a
    /// request is over. `false` if there is none.
    pub(crate) fn close_oldest(&self) -> bool {
        let mut parked = self.parked.borrow_mut();
        let oldest = parked.iter().find(|(_, parked)| parked.may_go()).map(|(ticket, _)| *ticket);
        let oldest = oldest.and_then(|ticket| parked.remove(&ticket));
        drop(parked);
        oldest.map(|parked| parked.waker.wake()).is_some()
    }

    /// Ends the stay of all that are parked now.
    pub(crate) fn close_all(&self) {
        let all = self.parked.take();
        all.into_values().for_each(|parked| parked.waker.wake());
    }

    /// Keeps a connection until bytes arrive. One with bytes that were not read yet is never given
    /// up; a new one, of which none was, has its time.
    pub(crate) async fn stay(self: &Rc<Self>, transport: &Transport, is_new: bool) -> Stay {
        let since = Instant::now();
        let mut place = None;
        poll_fn(|cx| {
            if let Poll::Ready(ready) = transport.poll_read_ready(cx) {
                return Poll::Ready(if ready.is_ok() { Stay::HasBytes } else { Stay::Over });
            }
            if place.get_or_insert_with(|| self.enter(cx.waker(), is_new)).keep(cx.waker()) {
                return Poll::Pending;
            }
            Poll::Ready(match transport.has_bytes() {
                true => Stay::HasBytes,
                false if since.elapsed() >= self.idle_time => Stay::TimedOut,
                false => Stay::Over,
            })
        })
        .await
    }

    /// Takes a place, of which the waker will tell if it is lost.
    pub(crate) fn enter(self: &Rc<Self>, waker: &Waker, is_new: bool) -> Place<'_> {
        self.count.set(self.count.get() + 1);
        let place = Place { parking: self, ticket: self.count.get() };
        let parked = Parked { since: Instant::now(), is_new, waker: waker.clone() };
        self.parked.borrow_mut().insert(place.ticket, parked);
        if !self.is_timed.replace(true) {
            spawn_local(Rc::clone(self).time_out());
        }
        place
    }

    /// Closes what has timed out, until nothing is parked.
    async fn time_out(self: Rc<Self>) {
        while let Some(since) = self.oldest() {
            sleep_until(since + self.idle_time).await;
            while self.oldest().is_some_and(|since| since.elapsed() >= self.idle_time) {
                self.close_oldest();
            }
        }
        self.is_timed.set(false);
    }

    /// Since when the one has been here that has been here longest.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.parked.borrow().first_key_value().map(|(_, parked)| parked.since)
    }
}

/// A connection's place among those that are parked, which it leaves when dropped.
pub(crate) struct Place<'p> {
    parking: &'p Rc<Parking>,
    ticket: u64,
}

impl Place<'_> {
    /// Whether the connection still has its place.
    pub(crate) fn keep(&self, waker: &Waker) -> bool {
        let mut all = self.parking.parked.borrow_mut();
        all.get_mut(&self.ticket).map(|parked| parked.waker.clone_from(waker)).is_some()
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.parking.parked.borrow_mut().remove(&self.ticket);
    }
}
