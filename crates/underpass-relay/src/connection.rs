//! One relayed connection, from the accepted client to the line in the log.
//!
//! Each direction ends by itself: when one peer has sent everything, the other is told and may
//! continue sending. A stream that was cut short must not look complete, so when a peer resets the
//! connection, or a drain cuts it, the other peer gets a reset too, where its protocol has one.
//!
//! Source: RFC 9293 §3.6 (half-closed connections), §3.10.7.4 (reset); shutdown(2).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout};
use underpass::{Flow, Method, Side};

use crate::connect::{connect, is_own_limit};
use crate::end::{End, Ending, OrDash};
use crate::proxy::{self, Addresses};
use crate::socket::Socket;
use crate::tally::{self, Direction};
use crate::targets::{Failure, Lease, Target};
use crate::trust::Opening;
use crate::worker::Worker;

/// How long a client may take for its PROXY header; HAProxy's advice is 3 s or more.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// Relays a client to a target until the connection ends.
pub(crate) async fn relay(client: Socket, peer: Option<SocketAddr>, worker: Rc<Worker>) {
    let mut connection = Connection::new(client, peer, worker);
    // In a separate box, so that a connection that is open does not keep room for it.
    connection.ending.end = match Box::pin(connection.open()).await {
        Ok(()) => connection.move_bytes().await,
        Err(end) => end,
    };
}

/// A connection and its account, which is written to the log at the end.
struct Connection {
    client: Socket,
    target: Option<Socket>,
    worker: Rc<Worker>,
    /// Who connected; `None` for the client of a Unix socket.
    peer: Option<SocketAddr>,
    /// What was expected of it.
    opening: Opening,
    /// Who the client is by the peer's word.
    announced: Option<SocketAddr>,
    lease: Option<Lease>,
    since: Instant,
    /// When bytes moved last.
    active: Instant,
    up: Flow,
    down: Flow,
    /// Whether the peers are to learn that their streams were cut short.
    is_cut: bool,
    ending: Ending,
}

impl Connection {
    fn new(client: Socket, peer: Option<SocketAddr>, worker: Rc<Worker>) -> Self {
        worker.ends.count_accepted();
        let opening = worker.settings.accept_proxy.opening(peer);
        let ending = worker.ending();
        let now = Instant::now();
        Self {
            client,
            target: None,
            worker,
            peer,
            opening,
            announced: None,
            lease: None,
            since: now,
            active: now,
            up: Flow::new(),
            down: Flow::new(),
            is_cut: true,
            ending,
        }
    }

    /// Finds out who the client is, connects it to a target, and tells that who it is.
    async fn open(&mut self) -> Result<(), End> {
        let settings = Arc::clone(&self.worker.settings);
        let (mut announced, mut early) = (None, Vec::new());
        match self.opening {
            Opening::Header => {
                let header = timeout(HEADER_LIMIT, read_header(&self.client)).await;
                let Ok(Ok(header)) = header else { return Err(End::BadHeader) };
                (announced, early) = header;
            }
            Opening::Stranger => self.worker.ends.count_stranger(),
            Opening::Plain => {}
        }
        self.announced = announced.map(|addresses| addresses.source);
        self.target = Some(self.connect(settings.connect_timeout).await?);
        let mut head = Vec::new();
        if let Some(version) = settings.send_proxy {
            head = proxy::encode(version, announced.or_else(|| self.own_addresses()));
        }
        let own = head.len();
        head.extend_from_slice(&early);
        self.up.start_with(head, own);
        Ok(())
    }

    fn own_addresses(&self) -> Option<Addresses> {
        Some(Addresses { source: self.peer?, destination: self.client.local_addr()? })
    }

    /// Connects to the target with the fewest connections; to the next one if that fails.
    async fn connect(&mut self, limit: Duration) -> Result<Socket, End> {
        let targets = Arc::clone(&self.worker.targets.borrow());
        let mut tried: Vec<Arc<Target>> = Vec::new();
        loop {
            let lease = targets.choose(&tried).ok_or(End::NoTarget)?;
            let target = Arc::clone(lease.target());
            self.lease = Some(lease);
            match timeout(limit, connect(&target.endpoint)).await {
                Ok(Ok(socket)) => {
                    target.count_connection();
                    return Ok(socket);
                }
                Ok(Err(error)) => target.fail(failure_of(&error)),
                Err(_) => target.fail(Failure::TimedOut),
            }
            tried.push(target);
        }
    }

    /// Moves bytes both ways until the connection ends.
    async fn move_bytes(&mut self) -> End {
        self.active = Instant::now();
        let end = match self.worker.settings.idle_timeout {
            None => poll_fn(|cx| self.poll(cx)).await,
            Some(limit) => {
                let mut alarm = pin!(sleep_until(self.active + limit));
                poll_fn(|cx| self.poll_or_idle(cx, alarm.as_mut(), limit)).await
            }
        };
        let is_holding = self.up.is_holding() || self.down.is_holding();
        self.is_cut = if end == End::Idle { is_holding } else { !self.is_over() };
        if end == End::TargetFailed
            && let Some(lease) = &self.lease
        {
            lease.target().fail(Failure::Reset);
        }
        end
    }

    fn is_over(&self) -> bool {
        self.up.is_over() && self.down.is_over()
    }

    /// Ready when both directions are over, or a peer has cut its stream short.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let Self { client, target, worker, up, down, ending: Ending { end, .. }, .. } = self;
        let Some(target) = target else { return Poll::Ready(End::NoTarget) };
        let (client_failed, target_failed) = (End::ClientFailed, End::TargetFailed);
        for direction in Direction::ALL {
            let (flow, other, from, to, source_failed, sink_failed) = match direction {
                Direction::Up => {
                    (&mut *up, &*down, &*client, &*target, client_failed, target_failed)
                }
                Direction::Down => {
                    (&mut *down, &*up, &*target, &*client, target_failed, client_failed)
                }
            };
            // A sink that failed may have sent what is never taken, and close(2) would reset it.
            let is_last = other.is_over() && *end == End::Cut;
            let before = tally::moved(flow);
            let (from, to) = (from.readiness(), to.readiness());
            let polled = if is_last {
                flow.poll_delivered(cx, from, to)
            } else {
                flow.poll_shutdown(cx, from, to)
            };
            worker.tally.add_since(before, direction, flow);
            match (polled, flow.failed_side()) {
                (Poll::Ready(Err(_)), Some(Side::Source)) => return Poll::Ready(source_failed),
                // The other direction may still have bytes of a peer that has ended in order.
                (Poll::Ready(Err(_)), _) => *end = sink_failed,
                (Poll::Pending | Poll::Ready(Ok(())), _) => {}
            }
        }
        if !self.is_over() {
            return Poll::Pending;
        }
        Poll::Ready(if self.ending.end == End::Cut { End::Closed } else { self.ending.end })
    }

    fn poll_or_idle(
        &mut self,
        cx: &mut Context<'_>,
        mut alarm: Pin<&mut Sleep>,
        limit: Duration,
    ) -> Poll<End> {
        let moved = self.moved();
        if let Poll::Ready(end) = self.poll(cx) {
            return Poll::Ready(end);
        }
        if self.moved() != moved {
            self.active = Instant::now();
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if self.active.elapsed() >= limit {
                return Poll::Ready(End::Idle);
            }
            alarm.as_mut().reset(self.active + limit);
        }
        Poll::Pending
    }

    fn moved(&self) -> u64 {
        self.up.moved() + self.down.moved()
    }

    fn write_line(&self) {
        let target = self.lease.as_ref().map(|lease| &lease.target().endpoint);
        let sum = |method| self.up.moved_by(method) + self.down.moved_by(method);
        self.worker.write_line(format_args!(
            "client={} target={} end={} seconds={:.3} up={} down={} spliced={} copied={} proxy={}",
            OrDash(self.announced.or(self.peer)),
            OrDash(target),
            self.ending.end.name(),
            self.since.elapsed().as_secs_f64(),
            self.up.moved(),
            self.down.moved(),
            sum(Method::Splice),
            sum(Method::Copy),
            Announcer { opening: self.opening, peer: self.peer },
        ));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.is_cut {
            self.client.cut_when_closed();
            self.target.iter().for_each(Socket::cut_when_closed);
        }
        if self.worker.is_logging() {
            self.write_line();
        }
    }
}

/// Whose word it is who the client is.
struct Announcer {
    opening: Opening,
    peer: Option<SocketAddr>,
}

impl fmt::Display for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.opening, self.peer) {
            (Opening::Header, Some(peer)) => peer.fmt(f),
            (Opening::Header, None) => f.write_str("unix"),
            (Opening::Stranger, _) => f.write_str("stranger"),
            (Opening::Plain, _) => f.write_str("-"),
        }
    }
}

fn failure_of(error: &io::Error) -> Failure {
    if is_own_limit(error) {
        Failure::OwnLimit
    } else if error.kind() == io::ErrorKind::ConnectionRefused {
        Failure::Refused
    } else if error.kind() == io::ErrorKind::TimedOut {
        Failure::TimedOut
    } else {
        Failure::Unreachable
    }
}

/// Reads a PROXY header; also gives the bytes that came with it and are the stream's first.
async fn read_header(client: &Socket) -> io::Result<(Option<Addresses>, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        match client.receive(&mut buffer).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => bytes.extend_from_slice(buffer.get(..n).unwrap_or_default()),
        }
        match proxy::parse(&bytes) {
            Ok(Some(header)) => return Ok((header.addresses, bytes.split_off(header.len))),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
}
