//! The two directions of an open connection, until it is over.
//!
//! Each direction ends by itself: when one peer has sent everything, the other is told and may
//! continue sending. A peer that fails has failed for good, but what it had sent before is still in
//! its socket, and is taken first.
//!
//! A failure is told once, to the first call that asks. If that is one that gives to the peer, what
//! it had sent seems to end in order afterwards. `EPIPE` says that it did; any other error, that it
//! did not, and no end is passed on. A peer that has sent everything is not read any more, and is
//! watched instead.
//!
//! Source: net/ipv4/tcp_input.c, `tcp_reset`; net/ipv4/tcp.c, `tcp_recvmsg_locked`; unix(7).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::io::Errno;
use underpass::{ErrorKind, Flow, Side};

use crate::end::End;
use crate::socket::Socket;
use crate::tally::{self, Direction, Tally};

/// The two directions of an open connection.
pub(crate) struct Moving<'c> {
    client: &'c Socket,
    target: &'c Socket,
    up: &'c mut Flow,
    down: &'c mut Flow,
    tally: &'c Tally,
    failed: Option<Peer>,
    /// A peer that was reset before it had sent everything, as giving to it has told.
    cut_short: Option<Peer>,
    /// Tells when the peer that ended first is reset.
    watch: Option<Watch<'c>>,
}

type Watch<'c> = Pin<Box<dyn Future<Output = io::Result<()>> + 'c>>;

/// One of the two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Target,
}

impl Peer {
    const fn end(self) -> End {
        match self {
            Self::Client => End::ClientFailed,
            Self::Target => End::TargetFailed,
        }
    }
}

/// Who sends, and who receives.
const fn ends_of(direction: Direction) -> (Peer, Peer) {
    match direction {
        Direction::Up => (Peer::Client, Peer::Target),
        Direction::Down => (Peer::Target, Peer::Client),
    }
}

impl<'c> Moving<'c> {
    pub(crate) fn new(
        client: &'c Socket,
        target: &'c Socket,
        up: &'c mut Flow,
        down: &'c mut Flow,
        tally: &'c Tally,
    ) -> Self {
        Self { client, target, up, down, tally, failed: None, cut_short: None, watch: None }
    }

    /// Bytes moved so far, both ways.
    pub(crate) const fn moved(&self) -> u64 {
        self.up.moved() + self.down.moved()
    }

    /// Moves what can be moved now. Ready when both directions are over, or one peer has failed
    /// and all it sent is with the other.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        for direction in Direction::ALL {
            self.poll_direction(cx, direction);
        }
        if self.is_over() {
            return Poll::Ready(self.failed.map_or(End::Closed, Peer::end));
        }
        self.poll_watch(cx)
    }

    /// A peer whose failure was met where bytes are taken from it has no more of them.
    fn is_over(&self) -> bool {
        let is_drained = |flow: &Flow| flow.failed_side() == Some(Side::Source);
        self.up.is_over() && self.down.is_over() || is_drained(self.up) || is_drained(self.down)
    }

    fn poll_direction(&mut self, cx: &mut Context<'_>, direction: Direction) {
        let (from, to) = ends_of(direction);
        let (source, sink) = (self.socket(from).readiness(), self.socket(to).readiness());
        let (flow, other) = match direction {
            Direction::Up => (&mut *self.up, &*self.down),
            Direction::Down => (&mut *self.down, &*self.up),
        };
        // After a connection that ended well, close(2) tells of the end as well.
        let is_last = other.is_over() && self.failed.is_none();
        let before = tally::moved(flow);
        let polled = if is_last || self.cut_short == Some(from) {
            flow.poll_delivered(cx, source, sink)
        } else {
            flow.poll_shutdown(cx, source, sink)
        };
        self.tally.add_since(before, direction, flow);
        let Poll::Ready(Err(error)) = polled else { return };
        let is_sink = flow.failed_side() == Some(Side::Sink);
        let failed = if is_sink { to } else { from };
        self.failed.get_or_insert(failed);
        if is_sink && !matches!(error.kind, ErrorKind::Io(Errno::PIPE)) {
            self.cut_short = Some(failed);
        }
    }

    fn socket(&self, peer: Peer) -> &'c Socket {
        match peer {
            Peer::Client => self.client,
            Peer::Target => self.target,
        }
    }

    /// Ready when a peer that has ended, of which no more is taken, is reset.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let ended = match (self.up.is_over(), self.down.is_over()) {
            (true, _) => Peer::Client,
            (_, true) => Peer::Target,
            (false, false) => return Poll::Pending,
        };
        let socket = self.socket(ended);
        let watch = self.watch.get_or_insert_with(|| Box::pin(socket.failed()));
        watch.as_mut().poll(cx).map(|_| self.failed.unwrap_or(ended).end())
    }
}
