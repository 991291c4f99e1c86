//! tonic's server on a [`Listener`].

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::tokio::net::{TcpListener, TcpStream};
use ::tonic::codegen::tokio_stream;
use ::tonic::transport::server::{Connected, TcpConnectInfo};

use crate::tokio::listener::Listener;
use crate::tokio::stream::Stream;

impl Listener<TcpListener> {
    /// The connections as tonic's `serve_with_incoming` takes them.
    #[must_use]
    pub fn into_incoming(self) -> Incoming {
        Incoming::new(Arc::new(self))
    }
}

/// The connections of a [`Listener`], one after the other, without end.
pub struct Incoming {
    listener: Arc<Listener<TcpListener>>,
    next: Pin<Box<dyn Future<Output = Stream<TcpStream>> + Send>>,
}

impl Incoming {
    fn new(listener: Arc<Listener<TcpListener>>) -> Self {
        let accepting = Arc::clone(&listener);
        let next = Box::pin(async move { accepting.accept_next().await.0 });
        Self { listener, next }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl tokio_stream::Stream for Incoming {
    type Item = io::Result<Stream<TcpStream>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.next.as_mut().poll(cx).map(|stream| {
            *self = Self::new(Arc::clone(&self.listener));
            Some(Ok(stream))
        })
    }
}

impl Connected for Stream<TcpStream> {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.get_ref().connect_info()
    }
}
