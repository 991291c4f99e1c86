//! One file by a gRPC method of unmodified tonic, the field that holds it leaving by sendfile:
//! `cargo run -p underpass-tonic --example tonic -- FILE [ADDRESS]`.
//!
//! tonic's own codec copies every message into one buffer. The method below answers with a
//! [`Rope`] instead: prost's encoder writes the message into it, copying the few bytes around
//! the field and referring to the file.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use prost::Message;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::transport::Server;
use underpass::{FileBytes, Method, Policy, Rope, Stability};

/// `message Contents { bytes data = 1; }`
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Contents {
    /// The file.
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) data: Bytes,
}

/// `service Files { rpc Read(Empty) returns (Contents); }`
#[derive(Debug, Clone)]
struct Files(Bytes);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    serve(TcpListener::bind(address).await?, Policy::Prefer(Method::Sendfile), map(file)?).await
}

/// The file's bytes, by reference.
pub(crate) fn map(file: File) -> Result<Bytes, Box<dyn Error>> {
    let mapped = FileBytes::map(file, .., Stability::Guard)?;
    // SAFETY: `FileBytes::into_bytes`, "no one writes to that part": h2 copies the first bytes
    // of each frame, so the operator must leave the file alone while it is served.
    Ok(unsafe { mapped.into_bytes() })
}

/// Serves the method.
pub(crate) async fn serve(
    socket: TcpListener,
    policy: Policy,
    file: Bytes,
) -> Result<(), Box<dyn Error>> {
    let server = Server::builder().add_service(Files(file));
    server.serve_with_incoming(underpass_tonic::incoming_with_policy(socket, policy)).await?;
    Ok(())
}

impl NamedService for Files {
    const NAME: &'static str = "underpass.Files";
}

impl Service<Request<Body>> for Files {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let message = Contents { data: self.0.clone() };
        let mut rope = Rope::new();
        // gRPC's length-prefixed message: not compressed, then the length.
        rope.put_u8(0);
        rope.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
        message.encode_raw(&mut rope);
        let mut response = Response::new(Body::new(Reply::of(rope)));
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
        std::future::ready(Ok(response))
    }
}

/// A message in pieces, and the trailer that says it went well.
struct Reply(std::vec::IntoIter<Frame<Bytes>>);

impl Reply {
    fn of(rope: Rope) -> Self {
        let ok = [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
        let mut frames: Vec<_> = rope.into_pieces().into_iter().map(Frame::data).collect();
        frames.push(Frame::trailers(HeaderMap::from_iter(ok)));
        Self(frames.into_iter())
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}
