//! `axum::serve` on a [`Listener`].

use std::io;

use ::tokio::net::{TcpListener, TcpStream};

use crate::tokio::listener::Listener;
use crate::tokio::stream::Stream;

impl ::axum::serve::Listener for Listener<TcpListener> {
    type Io = Stream<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        self.accept_next().await
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.get_ref().local_addr()
    }
}
