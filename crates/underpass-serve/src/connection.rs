//! One connection: parked as a bare socket while it is idle, under hyper while it is not.
//!
//! hyper keeps about 12 KiB a connection. An idle keep-alive connection needs none of it: once
//! a response is flushed and no byte of a next request has come, hyper's state is taken apart,
//! the socket kept, and the state made again when bytes arrive. What says that this loses
//! nothing is [`Progress`], which sees every read, write and flush between hyper and the socket.
//!
//! Source: RFC 9112 §9.3 (persistence), §9.5 (failures and timeouts).

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep};
use underpass_daemon::{Accepted, Admitted, Service};

use crate::body::{Body, Payload};
use crate::parking::Parking;
use crate::site::Site;
use crate::wire::{Open, Progress, Wire};

/// How often a connection under hyper is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Ticks in which a peer may take not a byte of a response.
const STALLED_TICKS_MAX: u32 = 60;

/// Ticks a request head may take to arrive whole, however many bytes of it do arrive.
const HEAD_TICKS_MAX: u32 = 30;

/// Connections of a worker that may idle under hyper; above that, an idle one is parked at once.
const IDLE_UNDER_HYPER_MAX: usize = 256;

/// A request head larger than this is answered 431; RFC 9112 §3 asks for 8000 at least.
const HEAD_BYTES_MAX: usize = 32 * 1024;

/// What the connections of one worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    site: Rc<Site>,
    parking: Rc<Parking>,
    /// Connections that hyper holds.
    under_hyper: Cell<usize>,
    /// Of these, the ones with a request or response under way.
    busy: Cell<usize>,
    /// Whether responses are to be the last of their connections.
    is_stopping: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(site: Site) -> Self {
        let (parking, under_hyper, busy, is_stopping) = Default::default();
        Self { site: Rc::new(site), parking, under_hyper, busy, is_stopping }
    }

    /// Keeps an idle connection until bytes arrive. `false` if it is to be closed.
    async fn park(&self, socket: &Accepted) -> bool {
        self.site.counts.set_parked(self.parking.len() + 1);
        let has_bytes = self.parking.stay(socket).await;
        self.site.counts.set_parked(self.parking.len());
        has_bytes
    }
}

impl Service for Shared {
    const UNIT: &'static str = "request";

    fn serve(
        self: Rc<Self>,
        socket: Accepted,
        admitted: Admitted,
    ) -> impl Future<Output = ()> + 'static {
        serve(Idle { socket, unread: Bytes::new() }, self, admitted)
    }

    fn flush(&self) {
        self.site.flush_log();
    }

    fn stop(&self) {
        self.is_stopping.set(true);
        self.parking.close_all();
    }

    fn idle(&self) -> usize {
        self.parking.len() + self.under_hyper.get() - self.busy.get()
    }

    fn close_idle(&self) -> bool {
        self.parking.close_oldest()
    }

    fn give_way(&self) {
        self.site.give_way();
    }
}

/// Serves a connection until it ends. Needs little memory while nothing happens on it.
async fn serve(mut idle: Idle, shared: Rc<Shared>, _admitted: Admitted) {
    let _counted = Connection::new(&shared);
    loop {
        if idle.unread.is_empty() && !shared.park(&idle.socket).await {
            return;
        }
        match Box::pin(converse(idle, &shared)).await {
            Some(again) => idle = again,
            None => return,
        }
    }
}

/// A connection between two requests.
struct Idle {
    socket: Accepted,
    /// What hyper had read of a further request.
    unread: Bytes,
}

/// Lets hyper converse until the connection ends, or is idle and may be parked.
async fn converse(idle: Idle, shared: &Rc<Shared>) -> Option<Idle> {
    let mut conversation = Conversation::new(idle, shared);
    let mut tick = pin!(sleep(TICK));
    let is_idle = poll_fn(|cx| conversation.poll(cx, tick.as_mut())).await;
    is_idle.then(|| conversation.into_idle())
}

/// A connection in hyper's hands.
struct Conversation<'s> {
    hyper: http1::Connection<TokioIo<Wire>, Responder>,
    progress: Rc<Progress>,
    shared: &'s Shared,
    _under_hyper: Counted<'s>,
    busy: Option<Counted<'s>>,
    /// What [`Progress::bytes`] was at the last tick.
    bytes_at_tick: u64,
    ticks_without_bytes: u32,
    ticks_in_head: u32,
}

impl<'s> Conversation<'s> {
    fn new(idle: Idle, shared: &'s Rc<Shared>) -> Self {
        let progress = Rc::new(Progress::new(Rc::clone(&shared.site)));
        let wire = Wire::new(idle.socket, idle.unread, Rc::clone(&progress));
        let peer = wire.peer();
        let (shared_too, progress_too) = (Rc::clone(shared), Rc::clone(&progress));
        let hyper =
            http1::Builder::new().writev(true).max_header_size(HEAD_BYTES_MAX).serve_connection(
                TokioIo::new(wire),
                Responder { shared: shared_too, peer, progress: progress_too },
            );
        let _under_hyper = Counted::new(&shared.under_hyper);
        let (bytes_at_tick, ticks_without_bytes, ticks_in_head) = Default::default();
        Self {
            hyper,
            progress,
            shared,
            _under_hyper,
            busy: None,
            bytes_at_tick,
            ticks_without_bytes,
            ticks_in_head,
        }
    }

    /// Ready when the connection is over (`false`), or idle and to be parked (`true`).
    fn poll(&mut self, cx: &mut Context<'_>, tick: Pin<&mut Sleep>) -> Poll<bool> {
        if let Poll::Ready(end) = Pin::new(&mut self.hyper).poll(cx) {
            if let Err(error) = end {
                report(&error);
            }
            return Poll::Ready(false);
        }
        if self.shared.is_stopping.get() && self.progress.is_answered() {
            return Poll::Ready(false);
        }
        if self.progress.is_idle() {
            self.busy = None;
            if self.shared.under_hyper.get() > IDLE_UNDER_HYPER_MAX {
                return Poll::Ready(true);
            }
        } else if self.busy.is_none() {
            self.busy = Some(Counted::new(&self.shared.busy));
        }
        self.poll_tick(cx, tick)
    }

    fn poll_tick(&mut self, cx: &mut Context<'_>, mut tick: Pin<&mut Sleep>) -> Poll<bool> {
        while tick.as_mut().poll(cx).is_ready() {
            tick.as_mut().reset(Instant::now() + TICK);
            let moved = self.progress.bytes() != self.bytes_at_tick;
            self.bytes_at_tick = self.progress.bytes();
            if !moved && self.progress.is_idle() {
                return Poll::Ready(true);
            }
            self.ticks_without_bytes = if moved { 0 } else { self.ticks_without_bytes + 1 };
            self.ticks_in_head =
                if self.progress.is_in_head() { self.ticks_in_head + 1 } else { 0 };
            if self.ticks_without_bytes > STALLED_TICKS_MAX || self.ticks_in_head > HEAD_TICKS_MAX {
                return Poll::Ready(false);
            }
        }
        Poll::Pending
    }

    /// Takes hyper's state apart. Loses nothing if [`Progress::is_idle`].
    fn into_idle(self) -> Idle {
        let parts = self.hyper.into_parts();
        let (socket, not_yet_read) = parts.io.into_inner().into_parts();
        debug_assert!(not_yet_read.is_empty(), "hyper reads all there is before it is idle");
        // An empty buffer would keep its 8 KiB for as long as the connection is parked.
        let unread = if parts.read_buf.is_empty() { Bytes::new() } else { parts.read_buf };
        Idle { socket, unread }
    }
}

/// An open connection, which the metrics count for as long as it lives.
struct Connection<'s>(&'s Shared);

impl<'s> Connection<'s> {
    fn new(shared: &'s Shared) -> Self {
        shared.site.counts.count_connection();
        Self(shared)
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.0.site.counts.count_closed();
    }
}

/// One of a count, for as long as it lives.
struct Counted<'s>(&'s Cell<usize>);

impl<'s> Counted<'s> {
    fn new(count: &'s Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A peer that goes away or speaks no HTTP is its own affair; a file that did not stay what it
/// was is the operator's.
fn report(error: &hyper::Error) {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(outgoing) = inner.and_then(|inner| inner.downcast_ref::<underpass::Error>()) {
            tracing::warn!("response cut short: {outgoing}");
            return;
        }
        cause = error.source();
    }
    tracing::debug!("connection ended: {error}");
}

/// hyper's view of the site, for one connection.
struct Responder {
    shared: Rc<Shared>,
    peer: Option<IpAddr>,
    progress: Rc<Progress>,
}

impl hyper::service::Service<Request<Incoming>> for Responder {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Responding;

    fn call(&self, request: Request<Incoming>) -> Responding {
        let open = Open::new(&self.progress, !request.body().is_end_stream());
        let is_last = self.shared.is_stopping.get();
        let (head, _) = request.into_parts();
        let site = &self.shared.site;
        let Some(response) = site.respond_at_once(&head, self.peer) else {
            let (site, peer) = (Rc::clone(site), self.peer);
            return Responding::Later(Box::pin(async move {
                finish(site.respond(head, peer).await, open, is_last)
            }));
        };
        Responding::Now(Some(finish(response, open, is_last)))
    }
}

/// A response: at hand, or being looked up.
enum Responding {
    Now(Option<Response<Body>>),
    Later(Pin<Box<dyn Future<Output = Response<Body>>>>),
}

impl Future for Responding {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Now(response) => {
                Poll::Ready(Ok(response.take().expect("a future is not polled once it is ready")))
            }
            Self::Later(future) => future.as_mut().poll(cx).map(Ok),
        }
    }
}

fn finish(response: Response<Payload>, open: Open, is_last: bool) -> Response<Body> {
    let mut response = response.map(|payload| Body::new(payload, open));
    if is_last {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
