//! `Listener`: accepts connections as [`Stream`]s.

use std::io;
use std::time::Duration;

use ::tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};

use crate::policy::Policy;
use crate::tokio::stream::{Socket, Stream};

/// A listening socket whose connections send file-backed bytes by reference.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let socket = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
/// let listener = underpass::Listener::new(socket);
/// let (stream, peer) = listener.accept().await?; // a `Stream`, for hyper or to be written to
/// # Ok(())
/// # }
/// ```
///
/// For `axum::serve` and for tonic's server there are the crates `underpass-axum` and
/// `underpass-tonic`.
#[derive(Debug)]
pub struct Listener<L> {
    socket: L,
    policy: Policy,
}

/// A listening socket of tokio's: [`TcpListener`] or [`UnixListener`].
pub trait ListeningSocket: sealed::Sealed + Send + Sync + 'static {
    /// What a connection is.
    type Socket: Socket + Send + 'static;
    /// Where a peer is.
    type Address: Send;

    /// Accepts one connection, and sets the options that a [`Stream`] is best used with.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Socket, Self::Address)>> + Send;

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    fn local_address(&self) -> io::Result<Self::Address>;
}

mod sealed {
    #[expect(unnameable_types, reason = "sealing a trait is making this one unnameable")]
    pub trait Sealed {}
    impl Sealed for super::TcpListener {}
    impl Sealed for super::UnixListener {}
}

impl ListeningSocket for TcpListener {
    type Socket = TcpStream;
    type Address = std::net::SocketAddr;

    async fn accept(&self) -> io::Result<(TcpStream, std::net::SocketAddr)> {
        let (socket, peer) = Self::accept(self).await?;
        // A head is sent with MSG_MORE: Nagle's wait would only delay the end of a response.
        socket.set_nodelay(true)?;
        Ok((socket, peer))
    }

    fn local_address(&self) -> io::Result<std::net::SocketAddr> {
        self.local_addr()
    }
}

impl ListeningSocket for UnixListener {
    type Socket = UnixStream;
    type Address = unix::SocketAddr;

    async fn accept(&self) -> io::Result<(UnixStream, unix::SocketAddr)> {
        Self::accept(self).await
    }

    fn local_address(&self) -> io::Result<unix::SocketAddr> {
        self.local_addr()
    }
}

impl<L> Listener<L> {
    /// Wraps a listening socket.
    pub const fn new(socket: L) -> Self {
        Self { socket, policy: Policy::Auto }
    }

    /// Sets how file-backed slices are sent on the connections; `Auto` otherwise.
    #[must_use]
    pub const fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The listening socket.
    pub const fn get_ref(&self) -> &L {
        &self.socket
    }
}

impl<L: ListeningSocket> Listener<L> {
    /// Accepts one connection; on TCP it has `TCP_NODELAY` set.
    ///
    /// # Errors
    ///
    /// Those of accept(2), which concern the connection (`ECONNABORTED`) or a limit (`EMFILE`).
    ///
    /// # Cancel safety
    ///
    /// No connection is lost.
    pub async fn accept(&self) -> io::Result<(Stream<L::Socket>, L::Address)> {
        let (socket, peer) = self.socket.accept().await?;
        Ok((Stream::new(socket).with_policy(self.policy), peer))
    }

    /// Waits until a connection could be accepted, for servers without a plan for errors: a
    /// connection that failed before it was accepted is skipped, and where the process or the
    /// system is out of something, accepting pauses for 100 ms.
    ///
    /// # Cancel safety
    ///
    /// No connection is lost.
    pub async fn accept_next(&self) -> (Stream<L::Socket>, L::Address) {
        loop {
            match self.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_of_connection(&error) => {}
                Err(_) => ::tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

/// How long accepting pauses where the process or the system is out of something.
const PAUSE: Duration = Duration::from_millis(100);

/// accept(2), "Error handling": these were pending on the new connection.
fn is_of_connection(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
    ];
    kinds.contains(&error.kind())
}
