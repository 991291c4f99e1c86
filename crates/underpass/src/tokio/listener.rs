//! `Listener`: accepts connections as [`Stream`]s, for oneself, for `axum::serve` or for tonic.

use std::io;

use ::tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};

use crate::outgoing::Route;
use crate::tokio::stream::Stream;

/// A listening socket whose connections send file-backed bytes by reference.
///
/// With the feature `axum`, `axum::serve` takes it in place of tokio's.
#[derive(Debug)]
pub struct Listener<L> {
    listener: L,
    route: Route,
}

impl<L> Listener<L> {
    /// Wraps a listening socket.
    pub const fn new(listener: L) -> Self {
        Self { listener, route: Route::Auto }
    }

    /// Sets how file-backed slices travel on the connections.
    #[must_use]
    pub const fn with_route(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// The listening socket.
    pub const fn get_ref(&self) -> &L {
        &self.listener
    }
}

impl Listener<TcpListener> {
    /// Accepts one connection and sets `TCP_NODELAY` on it: a head is sent with `MSG_MORE`, so
    /// Nagle's wait would only delay the end of a response.
    ///
    /// # Errors
    ///
    /// Those of accept(2), which concern the connection (`ECONNABORTED`) or a limit (`EMFILE`).
    pub async fn accept(&self) -> io::Result<(Stream<TcpStream>, std::net::SocketAddr)> {
        let (socket, peer) = self.listener.accept().await?;
        socket.set_nodelay(true)?;
        Ok((Stream::new(socket).with_route(self.route), peer))
    }
}

impl Listener<UnixListener> {
    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(Stream<UnixStream>, unix::SocketAddr)> {
        let (socket, peer) = self.listener.accept().await?;
        Ok((Stream::new(socket).with_route(self.route), peer))
    }
}

#[cfg(any(feature = "axum", feature = "tonic"))]
impl Listener<TcpListener> {
    /// Accepts a connection, however long that takes: errors concern one connection, which is
    /// gone, or a limit, which passes.
    pub(crate) async fn accept_some(&self) -> (Stream<TcpStream>, std::net::SocketAddr) {
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
#[cfg(any(feature = "axum", feature = "tonic"))]
const PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// accept(2), "Error handling": these were pending on the new connection.
#[cfg(any(feature = "axum", feature = "tonic"))]
fn is_of_connection(error: &io::Error) -> bool {
    let kinds = [
        io::ErrorKind::ConnectionAborted,
        io::ErrorKind::ConnectionReset,
        io::ErrorKind::ConnectionRefused,
    ];
    kinds.contains(&error.kind())
}
