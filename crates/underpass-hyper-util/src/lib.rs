//! Uploads files by hyper-util's client with sendfile(2): the connector is all that changes.
//!
//! ```toml
//! underpass-hyper-util = "0.0"
//! ```
//!
//! ```
//! # use http_body_util::Full;
//! # use hyper_util::client::legacy::Client;
//! # use hyper_util::rt::TokioExecutor;
//! let connector = underpass_hyper_util::Connector::default();
//! let client = Client::builder(TokioExecutor::new()).build(connector);
//! # let _: &Client<_, Full<bytes::Bytes>> = &client;
//! ```
//!
//! It works under tonic's `Endpoint::connect_with_connector` too. It takes `http://` only: TLS
//! on top of it would read what it sends. reqwest has no place for a connector.
#![forbid(unsafe_code)]

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{self, Connected, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_service::Service;
use underpass::Stream;

/// Connects hyper-util's `Client` by TCP; bodies of file-backed bytes leave by sendfile(2).
#[derive(Debug, Clone)]
pub struct Connector(HttpConnector);

impl Connector {
    /// Connects as `http` does: its timeouts, addresses and options hold.
    #[must_use]
    pub const fn new(http: HttpConnector) -> Self {
        Self(http)
    }
}

impl Default for Connector {
    /// hyper-util's connector as it comes, with `TCP_NODELAY`: a head goes with `MSG_MORE`, so
    /// that Nagle's wait would only delay the end of a request.
    fn default() -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        Self(http)
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Connection>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async {
            let socket = connecting.await?.into_inner();
            Ok(TokioIo::new(Connection(Stream::new(socket))))
        })
    }
}

/// A client's connection that sends file-backed bytes by reference.
#[derive(Debug)]
pub struct Connection(Stream<TcpStream>);

impl connect::Connection for Connection {
    fn connected(&self) -> Connected {
        self.0.get_ref().connected()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
