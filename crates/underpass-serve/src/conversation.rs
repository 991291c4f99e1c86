//! A connection in hyper's hands, from the first byte of a request until it is idle or over.
//!
//! Once a second it is looked at, and each of its times counts one thing: a head of which part has
//! come, content that no one is interested in, or a client that takes nothing of its response.
//! What a client takes is what it has acknowledged: the socket's queue can hold megabytes, which
//! a slow client reads for minutes without there being room for more.
//!
//! Source: RFC 9112 §9.3 (persistence), §9.5 (failures and timeouts), §9.6 (half-closed clients).

use std::cell::RefCell;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::time::{Instant, Sleep, sleep};
use underpass::{ErrorKind, unacknowledged};
use underpass_daemon::Accepted;

use crate::access_log::{Line, Requested};
use crate::closing::{close_in_stages, send_error};
use crate::connection::{Counted, Idle, Shared};
use crate::parking::has_bytes;
use crate::progress::Progress;
use crate::refusal::{chain, of_malformed};
use crate::responder::Responder;
use crate::wire::{Socket, Wire};

/// How often a connection is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Ticks in which a client may take not a byte of a response.
const STALLED_TICKS_MAX: u32 = 60;

/// Ticks a request head may take to arrive whole, however many bytes of it do arrive.
const HEAD_TICKS_MAX: u32 = 30;

/// Ticks the content of a request may take to end, after the response.
const CONTENT_TICKS_MAX: u32 = 30;

/// A request head larger than this is answered 431; RFC 9112 §3 asks for 8000 at least.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// Lets hyper converse until the connection ends, or is idle and may be parked.
pub(crate) async fn converse(idle: Idle, shared: &Rc<Shared>) -> Option<Idle> {
    let mut conversation = Conversation::new(idle, shared);
    let mut tick = pin!(sleep(TICK));
    let end = poll_fn(|cx| conversation.poll(cx, tick.as_mut())).await;
    conversation.end(end).await
}

/// A connection in hyper's hands.
struct Conversation<'s> {
    hyper: http1::Connection<TokioIo<Wire>, Responder>,
    socket: Rc<RefCell<Socket>>,
    progress: Rc<Progress>,
    shared: &'s Shared,
    _under_hyper: Counted<'s>,
    busy: Option<Counted<'s>>,
    ticks: Ticks,
}

/// What the last ticks have shown.
#[derive(Debug, Default)]
struct Ticks {
    /// What [`Progress::bytes`] was.
    bytes: (u64, u64),
    /// What the socket's queue held.
    queued: usize,
    stalled: u32,
    in_head: u32,
    in_content: u32,
}

/// Why a conversation ends.
#[derive(Debug)]
enum End {
    /// It is idle and to be parked.
    Idle,
    /// The last response has left, or the client has.
    Over,
    /// The client sends more than is waited for.
    TooLong,
    /// The head of a request did not arrive in time.
    HeadTimeout,
    /// hyper ended it.
    Failed(hyper::Error),
    /// The client takes nothing of its response.
    Stalled,
}

impl<'s> Conversation<'s> {
    fn new(idle: Idle, shared: &'s Rc<Shared>) -> Self {
        let socket = Socket::new(idle.socket);
        let progress = Rc::new(Progress::new(Rc::clone(&shared.site), socket.peer()));
        let socket = Rc::new(RefCell::new(socket));
        let wire = Wire::new(Rc::clone(&socket), idle.unread, Rc::clone(&progress));
        let hyper = http1::Builder::new()
            .writev(true)
            .half_close(true)
            .max_header_size(HEAD_BYTES_MAX)
            .serve_connection(
                TokioIo::new(wire),
                Responder { progress: Rc::clone(&progress), shared: Rc::clone(shared) },
            );
        let _under_hyper = Counted::new(&shared.under_hyper);
        Self { hyper, socket, progress, shared, _under_hyper, busy: None, ticks: Ticks::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>, tick: Pin<&mut Sleep>) -> Poll<End> {
        if let Poll::Ready(end) = Pin::new(&mut self.hyper).poll(cx) {
            return Poll::Ready(end.map_or_else(End::Failed, |()| End::Over));
        }
        let _discarded = self.progress.poll_content(cx);
        if !self.progress.is_answering() {
            self.busy = None;
        } else if self.busy.is_none() {
            self.busy = Some(Counted::new(&self.shared.busy));
        }
        if self.progress.is_idle() {
            if self.shared.is_stopping.get() && !has_bytes(&*self.socket.borrow()) {
                return Poll::Ready(End::Over);
            }
            if self.shared.is_crowded() {
                return Poll::Ready(End::Idle);
            }
        }
        self.poll_tick(cx, tick)
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<End> {
        while tick.as_mut().poll(cx).is_ready() {
            tick.as_mut().reset(Instant::now() + TICK);
            if let Some(end) = self.tick() {
                return Poll::Ready(end);
            }
        }
        Poll::Pending
    }

    /// One time runs at a time, and starts anew when another has run. While a client still takes
    /// the last response, it is not waited for with its next request.
    fn tick(&mut self) -> Option<End> {
        let Ticks { bytes, queued, stalled, in_head, in_content } = std::mem::take(&mut self.ticks);
        let ticks = &mut self.ticks;
        ticks.bytes = self.progress.bytes();
        if self.progress.is_idle() {
            return (ticks.bytes == bytes).then_some(End::Idle);
        }
        ticks.queued = unacknowledged(&*self.socket.borrow()).unwrap_or(0);
        if ticks.queued > 0 {
            let is_taken = (ticks.queued, ticks.bytes.1) != (queued, bytes.1);
            ticks.stalled = if is_taken { 0 } else { stalled + 1 };
            (ticks.stalled > STALLED_TICKS_MAX).then_some(End::Stalled)
        } else if self.progress.is_in_content() {
            ticks.in_content = in_content + 1;
            (ticks.in_content > CONTENT_TICKS_MAX).then_some(End::TooLong)
        } else if self.progress.is_in_head() {
            ticks.in_head = in_head + 1;
            (ticks.in_head > HEAD_TICKS_MAX).then_some(End::HeadTimeout)
        } else {
            None
        }
    }

    /// Ends the conversation, and the connection with it unless that is idle.
    async fn end(self, end: End) -> Option<Idle> {
        let Self { hyper, socket, progress, shared, busy, _under_hyper, .. } = self;
        let unread = hyper.into_parts().read_buf;
        let socket = Rc::into_inner(socket)?.into_inner().into_inner();
        let status = match end {
            // An empty buffer would keep its 8 KiB for as long as the connection is parked.
            End::Idle if unread.is_empty() => return Some(Idle { socket, unread: Bytes::new() }),
            End::Idle => return Some(Idle { socket, unread }),
            End::Over if !progress.is_last() && unread.is_empty() && !has_bytes(&socket) => {
                return None;
            }
            End::Over | End::TooLong => None,
            End::Stalled => {
                progress.warn(format_args!("nothing was taken for {STALLED_TICKS_MAX} s"));
                socket.reset_when_closed();
                return None;
            }
            End::HeadTimeout => Some(StatusCode::REQUEST_TIMEOUT),
            End::Failed(error) => {
                progress.note_head(&unread);
                let head = &unread[..unread.len().min(HEAD_BYTES_MAX)];
                let status = of_malformed(&error, &progress.first_line(), head);
                if status.is_none() {
                    report(&error, &progress);
                    return None;
                }
                status
            }
        };
        if let Some(status) = status {
            refuse(&socket, status, &progress);
        }
        // Once, also if it was busy before: a connection is one of those under hyper.
        let busy = busy.unwrap_or_else(|| Counted::new(&shared.busy));
        close_in_stages(&socket, || drop(busy)).await;
        None
    }
}

/// Answers a head that never became a request.
fn refuse(socket: &Accepted, status: StatusCode, progress: &Progress) {
    let (sent, site) = (send_error(socket, status), &progress.site);
    site.counts.count_request(status);
    site.counts.count_sent(sent.bytes);
    site.record(&Line {
        client: progress.client,
        time: SystemTime::now(),
        request: Requested::Line(progress.first_line().as_bytes()),
        status,
        content_bytes: sent.content_bytes,
    });
}

/// A client that goes away is its own affair; a file that did not stay what it was is the
/// operator's.
fn report(error: &hyper::Error, progress: &Progress) {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inner.and_then(|inner| inner.downcast_ref::<underpass::Error>()) {
            Some(outgoing) if !is_of_client(outgoing.kind) => return progress.warn(outgoing),
            _ => cause = error.source(),
        }
    }
    match error.source() {
        // The body failed, and not the way to the client.
        Some(source) if error.is_user() => progress.warn(chain(source)),
        _ => tracing::debug!("connection ended: {error}"),
    }
}

/// Whether the client, or the way to it, is gone.
const fn is_of_client(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Io(
            Errno::PIPE
                | Errno::CONNRESET
                | Errno::CONNABORTED
                | Errno::TIMEDOUT
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::NETDOWN
        )
    )
}

#[cfg(test)]
mod tests;
