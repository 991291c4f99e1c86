//! Serves tonic's services with files leaving by sendfile(2): the incoming connections change, and
//! the codec that the code is generated with.
//!
//! ```toml
//! underpass-tonic = "0.0"
//! ```
//!
//! ```no_run
//! # use std::convert::Infallible;
//! # use tonic::{body::Body, codegen::{Service, http}, server::NamedService, transport::Server};
//! use underpass::{Method, Policy};
//! use underpass_tonic::{ByReference, incoming_with_policy};
//!
//! # async fn example<S>(service: S) -> Result<(), Box<dyn std::error::Error>>
//! # where
//! #     S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
//! #     S: NamedService + Clone + Send + Sync + 'static,
//! #     S::Future: Send + 'static,
//! # {
//! let socket = tokio::net::TcpListener::bind("127.0.0.1:50051").await?;
//! let policy = Policy::Prefer(Method::Sendfile);
//! Server::builder()
//!     .add_service(ByReference::new(service)) // generated: `FilesServer::new(..)`
//!     .serve_with_incoming(incoming_with_policy(socket, policy))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! gRPC is HTTP/2. Its frames are 16 KiB unless the client allows more, and copying those is
//! cheaper than a sendfile each: that is what [`incoming`] does. [`incoming_with_policy`] sends
//! them by reference, as above.
//!
//! tonic's own codec copies every message into one buffer. Generate the code with
//!
//! ```text
//! tonic_prost_build::configure().bytes(".").codec_path("underpass_tonic::FileCodec")
//! ```
//!
//! and a `bytes` field that is backed by a file stays a reference all the way. For files that may
//! be written to meanwhile, put pieces of `underpass_http_body::FileBody::copied` into messages.
#![forbid(unsafe_code)]

mod codec;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use underpass::{ListeningSocket, Policy, Socket, Stream};

pub use codec::{ByReference, FileCodec, FileEncoder};

/// The connections of a TCP or Unix socket as tonic's `serve_with_incoming` takes them, without
/// end.
///
/// Errors of accept(2) are waited out, as [`underpass::Listener::accept_next`] says.
pub fn incoming<L: ListeningSocket>(
    socket: L,
) -> impl futures_util::Stream<Item = io::Result<Connection<L::Socket>>> + Send {
    incoming_with_policy(socket, Policy::Auto)
}

/// [`incoming`], with a choice of how file-backed bytes travel.
pub fn incoming_with_policy<L: ListeningSocket>(
    socket: L,
    policy: Policy,
) -> impl futures_util::Stream<Item = io::Result<Connection<L::Socket>>> + Send {
    let listener = underpass::Listener::new(socket).with_policy(policy);
    stream::unfold(listener, async |listener| {
        let (stream, _) = listener.accept_next().await;
        Some((Ok(Connection(stream)), listener))
    })
}

/// A connection that sends file-backed bytes by reference; requests carry the same information
/// about it as over tokio's sockets.
#[derive(Debug)]
pub struct Connection<S: Socket>(Stream<S>);

impl<S: Socket + Connected> Connected for Connection<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.0.get_ref().connect_info()
    }
}

impl<S: Socket> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: Socket> AsyncWrite for Connection<S> {
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
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
