//! One connection: parked as a bare socket while it is idle, answered directly where that can be,
//! under hyper where it cannot.
//!
//! hyper keeps about 12 KiB a connection. An idle keep-alive connection needs none of it, and a
//! plain request does not either: once a response is flushed and no byte of a next request has
//! come, hyper's state is taken apart, and made again when a request comes that needs it. What
//! says that this loses nothing is [`Progress`](crate::progress::Progress), which sees every read,
//! write and flush between hyper and the socket.
//!
//! Source: RFC 9112 §9.3 (persistence).

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use underpass_daemon::{Accepted, Admitted, Service};

use crate::conversation::{Http2Options, converse, http2};
use crate::direct::{self, Directly};
use crate::handshake::{Handshakes, secure};
use crate::limits::Limits;
use crate::parking::{Parking, Stay};
use crate::proxy_header;
use crate::site::Site;
use crate::tls::Tls;
use crate::transport::Transport;

/// What the connections of one worker share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) site: Rc<Site>,
    pub(crate) limits: Limits,
    /// What connections begin with, if they are secured.
    tls: Option<Tls>,
    /// How HTTP/2 is spoken, if it is.
    http2: Option<Http2Options>,
    parking: Rc<Parking>,
    /// Idle connections of HTTP/2, which keep their state.
    pub(crate) sessions: Rc<Parking>,
    pub(crate) handshakes: Handshakes,
    /// Connections that hyper holds, or h2.
    pub(crate) under_hyper: Cell<usize>,
    /// Of these, the ones whose client waits for a response, or the rest of it.
    pub(crate) busy: Cell<usize>,
    /// Whether responses are to be the last of their connections.
    pub(crate) is_stopping: Cell<bool>,
}

impl Shared {
    pub(crate) fn new(
        site: Site,
        tls: Option<Tls>,
        http2: Option<Http2Options>,
        limits: Limits,
    ) -> Self {
        let parking = || Rc::new(Parking::new(limits.idle_time));
        Self {
            site: Rc::new(site),
            limits,
            tls,
            http2,
            parking: parking(),
            sessions: parking(),
            handshakes: Handshakes::default(),
            under_hyper: Cell::default(),
            busy: Cell::default(),
            is_stopping: Cell::default(),
        }
    }

    /// How HTTP/2 is spoken with a new connection, if its client has begun to.
    async fn is_http2(&self, idle: &mut Idle) -> Option<&Http2Options> {
        let is_begun = idle.https_port.is_none() && http2::is_begun(&idle.unread);
        let options = self.http2.as_ref().filter(|_| is_begun)?;
        let is_whole = self.handshakes.within_bounds(http2::is_whole(idle)).await;
        is_whole?.ok()?.then_some(options)
    }

    /// Keeps an idle connection until bytes arrive. `false` if it is to be closed.
    async fn park(&self, transport: &Transport, is_new: bool) -> bool {
        match self.stay(transport, is_new).await {
            Stay::HasBytes => true,
            Stay::Over => false,
            // In a separate box: few come here.
            Stay::TimedOut => Box::pin(self.park_longer(transport)).await,
        }
    }

    /// A client that still takes the last response is not idle.
    async fn park_longer(&self, transport: &Transport) -> bool {
        let mut queued = usize::MAX;
        loop {
            match transport.unacknowledged() {
                left if left > 0 && left != queued => queued = left,
                _ => return false,
            }
            match self.stay(transport, false).await {
                Stay::HasBytes => return true,
                Stay::Over => return false,
                Stay::TimedOut => {}
            }
        }
    }

    async fn stay(&self, transport: &Transport, is_new: bool) -> Stay {
        self.site.counts.set_parked(self.parking.len() + 1);
        let stay = self.parking.stay(transport, is_new).await;
        self.site.counts.set_parked(self.parking.len());
        stay
    }
}

impl Service for Shared {
    const UNIT: &'static str = "request";

    fn serve(
        self: Rc<Self>,
        socket: Accepted,
        admitted: Admitted,
    ) -> impl Future<Output = ()> + 'static {
        serve(Idle::new(Transport::new(socket)), self, admitted)
    }

    fn flush(&self) {
        self.site.flush_log();
    }

    fn stop(&self) {
        self.is_stopping.set(true);
        self.parking.close_all();
        self.sessions.close_all();
        self.handshakes.give_up_all();
    }

    fn idle(&self) -> usize {
        self.parking.len() + self.handshakes.len() + self.under_hyper.get() - self.busy.get()
    }

    fn close_idle(&self) -> bool {
        let Self { parking, sessions, .. } = self;
        let is_older = sessions.oldest().is_some_and(|since| parking.oldest() > Some(since));
        let [first, second] = if is_older { [sessions, parking] } else { [parking, sessions] };
        first.close_oldest() || second.close_oldest()
    }

    fn give_way(&self) {
        self.site.give_way();
    }
}

/// Serves a connection until it ends. Needs little memory while nothing happens on it.
#[expect(clippy::manual_async_fn, reason = "its future would have the arguments twice")]
fn serve(
    mut idle: Idle,
    shared: Rc<Shared>,
    mut admitted: Admitted,
) -> impl Future<Output = ()> + 'static {
    async move {
        let _counted = Connection::new(&shared);
        let mut is_new = true;
        if shared.site.proxies.begins_with_header(idle.transport.peer()) {
            match Box::pin(proxy_header::take(idle.transport, &shared, &mut admitted)).await {
                Some(transport) => idle.transport = transport,
                None => return,
            }
        }
        if let Some(tls) = &shared.tls {
            idle.https_port = tls.https_port(admitted.listener());
        }
        if let Some(tls) = shared.tls.clone().filter(|_| idle.https_port.is_none()) {
            match Box::pin(secure(idle, tls, &shared)).await {
                Some(secured) => idle = secured,
                None => return,
            }
        }
        if let Some(options) = shared.http2.as_ref().filter(|_| idle.transport.is_of_http2()) {
            return Box::pin(http2::converse(idle, &shared, options)).await;
        }
        loop {
            if idle.unread.is_empty() {
                if !shared.park(&idle.transport, is_new).await {
                    return idle.transport.end_now();
                }
                let directly = direct::answer(&mut idle, &shared).await;
                let is_first = is_new;
                is_new = is_new && matches!(directly, Directly::Nothing);
                match directly {
                    Directly::Nothing | Directly::Answered => continue,
                    Directly::Rest(rest) => {
                        if !Box::pin(rest.send(&mut idle, &shared)).await {
                            return;
                        }
                        idle.transport = idle.transport.rested();
                        continue;
                    }
                    Directly::Unread(bytes) => {
                        idle.unread = bytes;
                        if is_first
                            && let Some(options) = Box::pin(shared.is_http2(&mut idle)).await
                        {
                            return Box::pin(http2::converse(idle, &shared, options)).await;
                        }
                    }
                    Directly::Over => return idle.transport.end_now(),
                }
            }
            match Box::pin(converse(idle, &shared)).await {
                Some(again) => idle = again,
                None => return,
            }
        }
    }
}

/// A connection between two requests.
pub(crate) struct Idle {
    pub(crate) transport: Transport,
    /// What hyper had read of a further request.
    pub(crate) unread: Bytes,
    /// The port of https, if clients of its listener are sent there.
    pub(crate) https_port: Option<u16>,
}

impl Idle {
    /// A new one.
    pub(crate) const fn new(transport: Transport) -> Self {
        Self { transport, unread: Bytes::new(), https_port: None }
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
pub(crate) struct Counted<'s>(&'s Cell<usize>);

impl<'s> Counted<'s> {
    pub(crate) fn new(count: &'s Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
