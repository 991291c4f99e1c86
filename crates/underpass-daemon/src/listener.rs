//! The listening sockets of a server, one set for each worker, and what they accept.
//!
//! A service manager may have opened them (socket activation); they are then used in place of the
//! endpoint that was asked for.
//!
//! Source: sd_listen_fds(3); listen(2); accept(2); socket(7), `SO_LINGER`.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::sockopt::{set_socket_linger, set_tcp_nodelay, socket_acceptconn};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::bound_path::{self, BoundPath};
use crate::daemon::BindError;
use crate::endpoint::Endpoint;
use crate::listen::{self, BACKLOG};

/// A listening socket that does not block.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// The listening sockets of one server.
#[derive(Debug)]
pub(crate) struct Bound {
    /// For each worker, its sockets, in the order of the endpoints.
    pub(crate) workers: Vec<Vec<Listener>>,
    /// Where they listen, ports resolved.
    pub(crate) endpoints: Vec<Endpoint>,
    /// Whether a service manager passed them.
    pub(crate) has_passed_sockets: bool,
    /// Those that this server made, to be removed at the end.
    pub(crate) paths: Vec<BoundPath>,
}

impl Bound {
    fn add(&mut self, other: Self) {
        for (listeners, more) in self.workers.iter_mut().zip(other.workers) {
            listeners.extend(more);
        }
        self.endpoints.extend(other.endpoints);
        self.paths.extend(other.paths);
    }
}

/// Takes over the sockets that a service manager passed; without them, listens at each endpoint.
///
/// # Errors
///
/// [`BindError::Listen`] with what bind(2) or listen(2) answered, `EADDRINUSE` also for a path
/// where a server answers; [`BindError::Nowhere`] without an endpoint.
pub(crate) fn bind(wanted: &[Endpoint], workers: NonZeroUsize) -> Result<Bound, BindError> {
    let refused = |endpoint: &Endpoint| {
        let endpoint = endpoint.clone();
        |source| BindError::Listen { endpoint, source }
    };
    let (first, others) = wanted.split_first().ok_or(BindError::Nowhere)?;
    let inherited = inherited().map_err(refused(first))?;
    if !inherited.is_empty() {
        let bound = share(&inherited, workers, None).map_err(refused(first))?;
        return Ok(Bound { has_passed_sockets: true, ..bound });
    }
    let mut bound = bind_one(first, workers).map_err(refused(first))?;
    for endpoint in others {
        bound.add(bind_one(endpoint, workers).map_err(refused(endpoint))?);
    }
    Ok(bound)
}

fn bind_one(endpoint: &Endpoint, workers: NonZeroUsize) -> io::Result<Bound> {
    match endpoint {
        Endpoint::Tcp(_) | Endpoint::Name(_) => bind_first(&endpoint.addresses()?, workers),
        Endpoint::Unix(path) => {
            let (socket, bound_path) = bound_path::listen(path)?;
            rustix::net::listen(&socket, BACKLOG)?;
            share(&[Listener::Unix(socket)], workers, bound_path)
        }
    }
}

/// Listens at the first of a name's addresses that can be.
fn bind_first(addresses: &[SocketAddr], workers: NonZeroUsize) -> io::Result<Bound> {
    let mut bound = Err(io::Error::other("the name has no address"));
    for address in addresses {
        bound = bind_tcp(*address, workers);
        if bound.is_ok() {
            break;
        }
    }
    bound
}

fn bind_tcp(wanted: SocketAddr, workers: NonZeroUsize) -> io::Result<Bound> {
    let sockets = listen::listen(wanted, workers)?;
    let address = sockets.first().map_or(Ok(wanted), std::net::TcpListener::local_addr)?;
    Ok(Bound {
        workers: sockets.into_iter().map(|socket| vec![Listener::Tcp(socket)]).collect(),
        endpoints: vec![Endpoint::Tcp(address)],
        has_passed_sockets: false,
        paths: Vec::new(),
    })
}

/// The sockets that were passed to this process, which no child inherits any more.
fn inherited() -> io::Result<Vec<Listener>> {
    let mut passed = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        let listener = match passed.take_unix_listener(index) {
            Ok(Some(listener)) => Listener::Unix(listener),
            // It is not a Unix socket, and has stayed where it was.
            _ => match passed.take_tcp_listener(index)? {
                Some(listener) => Listener::Tcp(listener),
                None => continue,
            },
        };
        // accept(2) would answer EINVAL for ever.
        if !socket_acceptconn(&listener)? {
            let problem = format!("socket {} of those that were passed does not listen", index + 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        listener.prepare()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// All workers accept from the same sockets.
fn share(
    sockets: &[Listener],
    workers: NonZeroUsize,
    path: Option<BoundPath>,
) -> io::Result<Bound> {
    let each = || sockets.iter().map(Listener::try_clone).collect::<io::Result<Vec<_>>>();
    Ok(Bound {
        workers: (0..workers.get()).map(|_| each()).collect::<io::Result<_>>()?,
        endpoints: sockets.iter().map(Listener::endpoint).collect::<io::Result<_>>()?,
        has_passed_sockets: false,
        paths: path.into_iter().collect(),
    })
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

impl Listener {
    /// What sockets that are made here have from the start.
    fn prepare(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => {
                set_tcp_nodelay(socket, true)?;
                socket.set_nonblocking(true)
            }
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    fn endpoint(&self) -> io::Result<Endpoint> {
        match self {
            Self::Tcp(socket) => socket.local_addr().map(Endpoint::Tcp),
            Self::Unix(socket) => Ok(Endpoint::Unix(bound_path::name_of(&socket.local_addr()?))),
        }
    }
}

/// The listening sockets of one worker, watched by tokio.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listeners: Vec<Watched>,
    /// Where to begin, so that a busy socket does not keep the others waiting.
    turn: usize,
}

#[derive(Debug)]
enum Watched {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// An accepted connection.
#[derive(Debug)]
pub enum Accepted {
    /// A TCP connection and its peer.
    Tcp(TcpStream, SocketAddr),
    /// A connection to a Unix socket.
    Unix(UnixStream),
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<Listener>) -> io::Result<Self> {
        let watch = |listener| match listener {
            Listener::Tcp(socket) => TcpListener::from_std(socket).map(Watched::Tcp),
            Listener::Unix(socket) => UnixListener::from_std(socket).map(Watched::Unix),
        };
        let listeners = listeners.into_iter().map(watch).collect::<io::Result<_>>()?;
        Ok(Self { listeners, turn: 0 })
    }

    /// The next connection, and which listener it came through.
    pub(crate) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(usize, Accepted)>> {
        let count = self.listeners.len();
        for nth in self.turn..self.turn + count {
            let Some(listener) = self.listeners.get(nth % count) else { continue };
            if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                self.turn = (nth + 1) % count;
                return Poll::Ready(accepted.map(|accepted| (nth % count, accepted)));
            }
        }
        Poll::Pending
    }
}

impl Watched {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, peer)| Accepted::Tcp(stream, peer))
            }
            Self::Unix(listener) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| Accepted::Unix(stream))
            }
        }
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream, _) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Accepted {
    /// Waits until there may be bytes to read, or the end.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down.
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream, _) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    /// Reads what is there; 0 at the end.
    ///
    /// After a read that leaves room in `buffer` there is no more, and the socket is not asked
    /// again before more has come.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing is, and those of recv(2).
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        // epoll(7), "edge-triggered": a short read has emptied the socket, so waiting for the next
        // edge loses nothing.
        let tried = self.try_io(Interest::READABLE, || {
            read = rustix::io::read(self, &mut *buffer)?;
            let is_short = read > 0 && read < buffer.len();
            if is_short { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match tried {
            Err(error) if read == 0 => Err(error),
            _ => Ok(read),
        }
    }

    /// Makes a call if the socket may be ready, and notes that it is not if that answers
    /// `WouldBlock`.
    fn try_io<R>(&self, interest: Interest, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream, _) => stream.try_io(interest, call),
            Self::Unix(stream) => stream.try_io(interest, call),
        }
    }

    /// Waits until there may be room to write.
    ///
    /// # Errors
    ///
    /// If the runtime is shutting down.
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream, _) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none, and those of send(2).
    pub fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            // send(2) costs less than writev(2).
            (Self::Tcp(stream, _), [slice]) => stream.try_write(slice),
            (Self::Tcp(stream, _), slices) => stream.try_write_vectored(slices),
            (Self::Unix(stream), slices) => stream.try_write_vectored(slices),
        }
    }

    /// Where a TCP peer is.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, peer) => Some(*peer),
            Self::Unix(_) => None,
        }
    }

    /// Closing the socket resets a TCP connection from now on. An end in order would tell the
    /// peer that its answer is empty.
    pub fn reset_when_closed(&self) {
        // Fails only for a peer that is gone already, which knows.
        set_socket_linger(self, Some(Duration::ZERO)).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::new(2).expect("2 is not 0");

    #[test]
    fn each_worker_listens_at_each_endpoint_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let any = Endpoint::Tcp(([127, 0, 0, 1], 0).into());
        let wanted = [any.clone(), Endpoint::Unix(dir.path().join("s")), any];
        let Bound { workers, endpoints, paths, .. } = bind(&wanted, TWO).unwrap();
        assert!(endpoints[0].tcp().is_some() && endpoints[0] != endpoints[2]);
        assert_eq!((&endpoints[1], paths.len()), (&wanted[1], 1));
        assert_eq!(workers.len(), 2);
        for listeners in workers {
            let at: Vec<_> = listeners.iter().map(|it| it.endpoint().unwrap()).collect();
            assert_eq!(at, endpoints);
        }
    }

    #[test]
    fn the_endpoint_that_is_taken_is_named_and_the_others_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = Endpoint::Tcp(taken.local_addr().unwrap());
        let error = bind(&[Endpoint::Unix(path.clone()), taken.clone()], TWO).unwrap_err();
        assert!(matches!(&error, BindError::Listen { endpoint, .. } if *endpoint == taken));
        assert!(!path.exists());
        assert!(matches!(bind(&[], TWO).unwrap_err(), BindError::Nowhere));
    }
}
