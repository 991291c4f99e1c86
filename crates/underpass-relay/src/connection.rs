//! One relayed connection, from the accepted client to the line in the log.
//!
//! A stream that was cut short must not look complete, so when a peer resets the connection, or a
//! drain or the idle timeout cuts it, the other peer gets a reset too, where its protocol has one.
//! Before a peer's reset is passed on, the other peer gets what was sent before it.
//!
//! Source: RFC 9293 §3.6 (half-closed connections), §3.10.7.4 (reset); shutdown(2).

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use underpass::{Flow, Method, Side};
use underpass_daemon::Admitted;
use underpass_daemon::proxy::{self, Addresses};

use crate::connect::{connect, is_own_limit};
use crate::end::{End, Ending, OrDash};
use crate::moving::Moving;
use crate::socket::Socket;
use crate::targets::{Failure, Lease, Target};
use crate::trust::Opening;
use crate::worker::Worker;

/// How long a client may take for its PROXY header; HAProxy's advice is 3 s or more.
const HEADER_LIMIT: Duration = Duration::from_secs(5);

/// How long a peer that is to be reset may take nothing of what came before the reset.
const PATIENCE: Duration = Duration::from_secs(60);

/// Relays a client to a target until the connection ends.
pub(crate) async fn relay(
    client: Socket,
    peer: Option<SocketAddr>,
    worker: Rc<Worker>,
    admitted: Admitted,
) {
    let mut connection = Connection::new(client, peer, worker, admitted);
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
    admitted: Admitted,
    /// Who connected; `None` for the client of a Unix socket.
    peer: Option<SocketAddr>,
    /// What was expected of it.
    opening: Opening,
    /// Who the client is by the peer's word.
    announced: Option<SocketAddr>,
    lease: Option<Lease>,
    since: Instant,
    up: Flow,
    down: Flow,
    /// Whether the peers are to learn that their streams were cut short.
    is_cut: bool,
    ending: Ending,
}

impl Connection {
    fn new(
        client: Socket,
        peer: Option<SocketAddr>,
        worker: Rc<Worker>,
        admitted: Admitted,
    ) -> Self {
        worker.ends.count_accepted();
        let opening = worker.settings.accept_proxy.opening(peer);
        let ending = worker.ending();
        Self {
            client,
            target: None,
            worker,
            admitted,
            peer,
            opening,
            announced: None,
            lease: None,
            since: Instant::now(),
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
        if let Some(client) = self.announced
            && !self.admitted.count_as(client.ip())
        {
            return Err(End::OneTooMany);
        }
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
            match connect(&target, limit).await {
                Ok(socket) => {
                    target.count_connection();
                    socket.keep_alive(self.worker.settings.keep_alive);
                    return Ok(socket);
                }
                Err(error) => target.fail(failure_of(&error)),
            }
            if target.is_named() {
                self.worker.settings.name_failed.notify_one();
            }
            tried.push(target);
        }
    }

    /// Moves bytes both ways until the connection ends.
    async fn move_bytes(&mut self) -> End {
        let Self { client, target, worker, up, down, .. } = self;
        let Some(target) = target else { return End::NoTarget };
        let limit = worker.settings.idle_timeout;
        let moving = Moving::new(client, target, up, down, &worker.tally);
        let end = match limit {
            None => until_over(moving).await,
            Some(limit) => until_over_or_idle(moving, limit).await,
        };
        let survivor = match end {
            End::ClientFailed => Some(&*target).filter(|_| up.failed_side() != Some(Side::Sink)),
            End::TargetFailed => Some(&*client).filter(|_| down.failed_side() != Some(Side::Sink)),
            End::Closed
            | End::Idle
            | End::NoTarget
            | End::BadHeader
            | End::OneTooMany
            | End::Cut => None,
        };
        if let Some(survivor) = survivor {
            let patience = limit.unwrap_or(PATIENCE).min(PATIENCE);
            // In a separate box, as above.
            Box::pin(survivor.acknowledged(patience)).await;
        }
        self.is_cut = end != End::Closed;
        if end == End::TargetFailed
            && let Some(lease) = &self.lease
        {
            lease.target().fail(Failure::Reset);
        }
        end
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

async fn until_over(mut moving: Moving<'_>) -> End {
    poll_fn(|cx| moving.poll(cx)).await
}

async fn until_over_or_idle(mut moving: Moving<'_>, limit: Duration) -> End {
    let mut active = Instant::now();
    let mut alarm = pin!(sleep_until(active + limit));
    poll_fn(|cx| {
        let moved = moving.moved();
        if let Poll::Ready(end) = moving.poll(cx) {
            return Poll::Ready(end);
        }
        if moving.moved() != moved {
            active = Instant::now();
        }
        while alarm.as_mut().poll(cx).is_ready() {
            if active.elapsed() >= limit {
                return Poll::Ready(End::Idle);
            }
            alarm.as_mut().reset(active + limit);
        }
        Poll::Pending
    })
    .await
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
