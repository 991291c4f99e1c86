//! `Listener`: accepts connections as [`Stream`]s.

use std::io;

use ::tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream, unix};

use crate::tokio::stream::Stream;

/// A listening socket whose connections send file-backed bytes by reference.
///
/// With the feature `axum`, `axum::serve` takes it in place of tokio's.
#[derive(Debug)]
pub struct Listener<L>(L);

impl<L> Listener<L> {
    /// Wraps a listening socket.
    pub const fn new(listener: L) -> Self {
        Self(listener)
    }

    /// The listening socket.
    pub const fn get_ref(&self) -> &L {
        &self.0
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
        let (socket, peer) = self.0.accept().await?;
        socket.set_nodelay(true)?;
        Ok((Stream::new(socket), peer))
    }
}

impl Listener<UnixListener> {
    /// Accepts one connection.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(Stream<UnixStream>, unix::SocketAddr)> {
        let (socket, peer) = self.0.accept().await?;
        Ok((Stream::new(socket), peer))
    }
}
