//! One file over HTTP/2 without TLS by unmodified hyper:
//! `cargo run -p underpass-http-body --example hyper_http2 -- FILE [ADDRESS]`, then
//! `curl --http2-prior-knowledge`.
//!
//! A frame holds 16 KiB unless the peer allows more, and h2 reads the start of each. So the body
//! is copied, which is cheaper than a sendfile a frame. For a peer with a larger
//! `SETTINGS_MAX_FRAME_SIZE` and a file that no one writes to, `FileBody::by_reference` and
//! `Listener::with_policy(Policy::Prefer(Method::Sendfile))` send frames by reference.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use underpass::{FileBytes, Listener, Stability};
use underpass_http_body::FileBody;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = Listener::new(TcpListener::bind(address).await?);
    let file = FileBytes::map(file, .., Stability::Guard)?;
    serve(listener, move || FileBody::copied(file.clone())).await
}

/// Answers every request with such a body.
pub(crate) async fn serve(
    listener: Listener<TcpListener>,
    body: impl Fn() -> FileBody + Clone + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let body = body.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let body = body();
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        let http2 = http2::Builder::new(TokioExecutor::new());
        tokio::spawn(http2.serve_connection(TokioIo::new(stream), answer));
    }
}
