//! HTTP/2: many requests at a time over one connection, each answered by its stream.
//!
//! h2 speaks the protocol and keeps its limits; what it writes is gathered by the [`Wire`] beneath
//! it and leaves once a turn. A connection cannot be parked, since both ends remember the fields
//! of former heads: one on which nothing happens keeps its state, until it has been idle for as
//! long as a connection may be, or its place is needed.
//!
//! Source: RFC 9113 §3.3, §3.4 (preface), §6.8 (GOAWAY), §9.1, §10.5 (denial of service); h2.

mod block;
mod buffer;
mod options;
mod outgoing;
mod piece;
mod preface;
mod received;
mod request;
mod room;
mod session;
mod stream;
mod told;
mod wire;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::Reason;
use h2::server::{Builder, Connection, Handshake};
use tokio::time::{Instant, Sleep, sleep};

use self::piece::Piece;
use self::session::Session;
use self::wire::{Outlet, Wire};
use super::ticks::TICK;
use crate::access_log::Cut;
use crate::closing::close_in_stages;
use crate::connection::{Counted, Idle, Shared};
use crate::parking::Place;
use crate::sending::Client;
use crate::taking::{Taking, TooSlow};

pub use options::Http2Options;
pub(crate) use preface::{is_begun, is_whole};

/// Ticks a client may take to close after the last of its responses, once it was told to.
const LEAVING_TICKS_MAX: u32 = 2;

/// Lets a client converse until the connection ends.
pub(crate) async fn converse(idle: Idle, shared: &Rc<Shared>, options: &Http2Options) {
    let mut conversation = Conversation::new(idle, shared, options);
    let mut tick = pin!(sleep(TICK));
    let end = poll_fn(|cx| conversation.poll(cx, tick.as_mut())).await;
    conversation.end(end).await;
}

/// Why a conversation ends.
#[derive(Debug)]
enum End {
    /// Both ends have said what they had to say, or one of them that it is over.
    Over(Result<(), h2::Error>),
    /// It was idle, and has given up its place.
    GivenUp,
    /// The way to the client has failed.
    Failed(io::Error),
    /// The client takes too little of its responses.
    Stalled(TooSlow),
}

/// A connection in h2's hands.
struct Conversation<'s> {
    speech: Speech,
    outlet: Rc<Outlet>,
    session: Rc<Session>,
    shared: &'s Rc<Shared>,
    _under_h2: Counted<'s>,
    busy: Option<Counted<'s>>,
    /// Its place among the idle.
    place: Option<Place<'s>>,
    /// Why the client was told that the connection ends, and for how many ticks it has known.
    leaving: Option<(Leaving, u32)>,
    taking: Taking,
}

enum Speech {
    Beginning(Handshake<Wire, Piece>),
    Open(Connection<Wire, Piece>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Nothing is under way, and nothing will be.
    Idle,
    /// Once its streams have ended.
    Stopping,
    /// It asks for what it does not want.
    Flood,
}

impl<'s> Conversation<'s> {
    fn new(idle: Idle, shared: &'s Rc<Shared>, options: &Http2Options) -> Self {
        let Idle { transport, unread, .. } = idle;
        let outlet = Rc::new(Outlet::new(transport, &shared.site));
        let session = Rc::new(Session::new(shared, &outlet, options));
        let wire = Wire::new(Rc::clone(&outlet), unread, Rc::clone(&session));
        let handshake = Builder::new()
            .max_concurrent_streams(options.streams_max.get())
            // More than is accepted, so that what is too large can be told so.
            .max_header_list_size(
                u32::try_from(2 * shared.limits.header_bytes_max).unwrap_or(u32::MAX),
            )
            .handshake(wire);
        Self {
            speech: Speech::Beginning(handshake),
            outlet,
            session,
            shared,
            _under_h2: Counted::new(&shared.under_hyper),
            busy: None,
            place: None,
            leaving: None,
            taking: Taking::default(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, tick: Pin<&mut Sleep>) -> Poll<End> {
        self.outlet.begin_turn();
        loop {
            if let Poll::Ready(end) = self.poll_speech(cx) {
                let is_given_up = matches!(self.leaving, Some((Leaving::Idle, _)));
                return Poll::Ready(if is_given_up { End::GivenUp } else { End::Over(end) });
            }
            match self.outlet.poll_drain(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(End::Failed(error)),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            self.count_busy();
            let Some(leaving) = self.is_to_leave(cx) else { break };
            if !self.leave(leaving) {
                return Poll::Ready(End::GivenUp);
            }
        }
        self.poll_tick(cx, tick)
    }

    /// Takes what has come, begins to answer it, and gives the wire what is to be sent.
    fn poll_speech(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            match &mut self.speech {
                Speech::Beginning(handshake) => {
                    self.speech = Speech::Open(ready!(Pin::new(handshake).poll(cx))?);
                }
                Speech::Open(connection) => match ready!(connection.poll_accept(cx)).transpose()? {
                    Some((request, respond)) => stream::answer(request, respond, &self.session),
                    None => return Poll::Ready(Ok(())),
                },
            }
        }
    }

    fn is_idle(&self) -> bool {
        !self.session.is_answering() && self.outlet.is_empty()
    }

    fn count_busy(&mut self) {
        if self.is_idle() {
            self.busy = None;
        } else if self.busy.is_none() {
            self.busy = Some(Counted::new(&self.shared.busy));
        }
    }

    /// Keeps its place among the idle while it is, and says why to leave now, if there is a reason.
    fn is_to_leave(&mut self, cx: &Context<'_>) -> Option<Leaving> {
        let is_leaving = self.leaving.is_some();
        if self.session.is_flooded() && !matches!(self.leaving, Some((Leaving::Flood, _))) {
            return Some(Leaving::Flood);
        }
        if !self.is_idle() {
            self.place = None;
            return (self.shared.is_stopping.get() && !is_leaving).then_some(Leaving::Stopping);
        }
        if is_leaving {
            return None;
        }
        let is_new = !self.session.has_answered();
        let sessions = &self.shared.sessions;
        let place = self.place.get_or_insert_with(|| sessions.enter(cx.waker(), is_new));
        if place.keep(cx.waker()) && !self.shared.is_stopping.get() {
            return None;
        }
        self.place = None;
        // What has just come is a request, as likely as not.
        (!self.outlet.has_bytes()).then_some(Leaving::Idle)
    }

    /// Tells the client that the connection ends, and why; `false` if it has said nothing yet.
    fn leave(&mut self, leaving: Leaving) -> bool {
        self.leaving = Some((leaving, 0));
        self.place = None;
        let Speech::Open(connection) = &mut self.speech else { return false };
        match leaving {
            Leaving::Idle => connection.abrupt_shutdown(Reason::NO_ERROR),
            Leaving::Stopping => connection.graceful_shutdown(),
            Leaving::Flood => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
        }
        true
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<End> {
        while tick.as_mut().poll(cx).is_ready() {
            // Not from now: connections that were late together would be so for ever.
            let next = tick.deadline() + TICK;
            tick.as_mut().reset(next.max(Instant::now()));
            if let Some(end) = self.tick() {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    }

    fn tick(&mut self) -> Option<End> {
        self.session.forget_resets();
        let queued = self.outlet.queued() + self.session.held();
        let written = self.outlet.written_bytes();
        if let Some(how) = self.taking.look(queued, written, &self.shared.limits) {
            return Some(End::Stalled(how));
        }
        let is_idle = self.is_idle();
        let (leaving, ticks) = self.leaving.as_mut()?;
        *ticks += 1;
        let is_over = *leaving != Leaving::Stopping || is_idle;
        (is_over && *ticks > LEAVING_TICKS_MAX).then_some(End::GivenUp)
    }

    async fn end(self, end: End) {
        let Self { speech, outlet, session, shared, busy, _under_h2, .. } = self;
        // Its streams learn of it.
        drop(speech);
        let Some(mut transport) = Rc::into_inner(outlet).map(Outlet::into_transport) else {
            return;
        };
        match end {
            End::GivenUp => return transport.end_now(),
            End::Failed(error) => return tracing::debug!("connection ended: {error}"),
            End::Stalled(how) => {
                shared.site.counts.count_cut(Cut::Client);
                let client = Client(session.client);
                tracing::warn!("responses to {client} were cut short: {how}");
                return transport.reset_when_closed();
            }
            End::Over(Err(error)) if error.is_io() => {
                return tracing::debug!("connection ended: {error}");
            }
            End::Over(Err(error)) => tracing::debug!("connection ended: {error}"),
            End::Over(Ok(())) => {}
        }
        let busy = busy.unwrap_or_else(|| Counted::new(&shared.busy));
        close_in_stages(&mut transport, shared.limits.send_time, || drop(busy)).await;
    }
}

#[cfg(test)]
mod tests;
