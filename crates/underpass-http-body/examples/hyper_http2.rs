//! One file over HTTP/2 without TLS by unmodified hyper, each DATA frame's payload by sendfile:
//! `cargo run -p underpass-http-body --example hyper_http2 -- FILE [ADDRESS]`, then
//! `curl --http2-prior-knowledge`.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use underpass::{FileBytes, Listener, Method, Policy, Stability};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    // A peer's frames are of 16 KiB unless it asks for more, which `Policy::Auto` would copy.
    let listener = Listener::new(TcpListener::bind(address).await?)
        .with_policy(Policy::Prefer(Method::Sendfile));
    serve(listener, map(file)?).await
}

/// The file's bytes, by reference.
pub(crate) fn map(file: File) -> Result<Bytes, Box<dyn Error>> {
    let mapped = FileBytes::map(file, .., Stability::Guard)?;
    // SAFETY: `FileBytes::into_bytes`, "no one writes to that part": h2 copies the first bytes
    // of each frame, so the operator must leave the file alone while it is served.
    Ok(unsafe { mapped.into_bytes() })
}

/// Answers every request with the file.
pub(crate) async fn serve(
    listener: Listener<TcpListener>,
    file: Bytes,
) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let file = file.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let body = Full::new(file.clone());
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let http2 = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(TokioIo::new(stream), answer));
    }
}
