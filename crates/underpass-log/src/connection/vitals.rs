//! What each open connection is doing, and since when: those that do it for too long are ended.
//!
//! A socket that is shut down wakes the task that waits for it, which then ends as with a peer that
//! has left. So there is no timer a connection, only a look at all of them now and then.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use tokio::time::Instant;
use underpass::unacknowledged;
use underpass_daemon::Accepted;

/// How long a request may take to arrive, from its first byte.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);

/// How long a peer may take not a byte of a response.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It waits for a request.
    Idle,
    /// A part of a request has come.
    Receiving,
    /// A request is being answered.
    Answering,
    /// A response is being sent.
    Sending,
}

/// What one connection is doing.
#[derive(Debug)]
pub(crate) struct Vitals {
    socket: Rc<Accepted>,
    doing: Cell<Doing>,
    /// Whether it began that after the last look.
    is_new: Cell<bool>,
    since: Cell<Instant>,
    /// What the peer had not acknowledged at the last look.
    queued: Cell<usize>,
    /// The task, where it waits for something other than its socket.
    waiting: RefCell<Option<Waker>>,
    has_left: Cell<bool>,
}

/// The open connections of a worker.
#[derive(Debug, Default)]
pub(crate) struct Connections(RefCell<Vec<Weak<Vitals>>>);

impl Vitals {
    pub(crate) fn now(&self, doing: Doing) {
        if self.doing.replace(doing) != doing {
            self.is_new.set(true);
        }
    }

    /// Ready when the client has left, or was made to.
    pub(crate) async fn left(&self) {
        poll_fn(|cx| {
            if self.has_left.get() {
                return Poll::Ready(());
            }
            *self.waiting.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Ends the connection if it has been doing the same for too long.
    fn look(&self, now: Instant, idle_limit: Option<Duration>) {
        let queued = unacknowledged(&*self.socket).unwrap_or(0);
        let moves = self.doing.get() == Doing::Sending && queued != self.queued.replace(queued);
        if self.is_new.take() || moves {
            self.since.set(now);
            return;
        }
        let limit = match self.doing.get() {
            Doing::Idle => idle_limit,
            Doing::Receiving => Some(REQUEST_LIMIT),
            Doing::Sending => Some(STALL_LIMIT),
            Doing::Answering => {
                if has_hung_up(&self.socket) {
                    self.let_go();
                }
                None
            }
        };
        if limit.is_some_and(|limit| now - self.since.get() >= limit) {
            self.end();
        }
    }

    fn end(&self) {
        // In mid-frame only a reset tells the peer that the rest does not come.
        if self.doing.get() != Doing::Idle {
            self.socket.reset_when_closed();
        }
        // A peer that has left already is what is wanted.
        shutdown(&*self.socket, Shutdown::Both).unwrap_or_default();
        self.let_go();
    }

    /// Wakes the task if it waits for something other than its socket.
    fn let_go(&self) {
        self.has_left.set(true);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// Whether the peer has closed its side: poll(2), `POLLRDHUP`.
fn has_hung_up(socket: &Accepted) -> bool {
    let gone = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
    let mut asked = [PollFd::new(socket, PollFlags::RDHUP)];
    poll(&mut asked, Some(&Timespec::default())).is_ok() && asked[0].revents().intersects(gone)
}

impl Connections {
    /// Keeps an eye on a connection for as long as the vitals live.
    pub(crate) fn add(&self, socket: &Rc<Accepted>) -> Rc<Vitals> {
        let vitals = Rc::new(Vitals {
            socket: Rc::clone(socket),
            doing: Cell::new(Doing::Idle),
            is_new: Cell::new(true),
            since: Cell::new(Instant::now()),
            queued: Cell::new(0),
            waiting: RefCell::default(),
            has_left: Cell::new(false),
        });
        let mut all = self.0.borrow_mut();
        if all.len() == all.capacity() {
            all.retain(|one| one.strong_count() > 0);
        }
        all.push(Rc::downgrade(&vitals));
        vitals
    }

    /// Ends connections that have been doing the same for too long.
    pub(crate) fn look(&self, idle_limit: Option<Duration>) {
        let now = Instant::now();
        self.each(|vitals| vitals.look(now, idle_limit));
    }

    /// Has connections end once they have answered what has come by now: tcp(7) still gives what
    /// was received before.
    pub(crate) fn stop_reading(&self) {
        self.each(|vitals| shutdown(&*vitals.socket, Shutdown::Read).unwrap_or_default());
    }

    /// How many wait for a request.
    pub(crate) fn idle(&self) -> usize {
        let mut idle = 0;
        self.each(|vitals| idle += usize::from(vitals.doing.get() == Doing::Idle));
        idle
    }

    fn each(&self, mut act: impl FnMut(&Vitals)) {
        self.0.borrow_mut().retain(|one| one.upgrade().inspect(|vitals| act(vitals)).is_some());
    }
}
