//! One file over HTTP/1.1 by unmodified hyper, its body leaving by sendfile:
//! `cargo run -p underpass-http-body --example hyper_http1 -- FILE [ADDRESS]`.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use underpass::{FileBytes, Listener, Stability};
use underpass_http_body::FileBody;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = Listener::new(TcpListener::bind(address).await?);
    serve(listener, FileBytes::map(file, .., Stability::Guard)?).await
}

/// Answers every request with the file.
pub(crate) async fn serve(
    listener: Listener<TcpListener>,
    file: FileBytes,
) -> Result<(), Box<dyn Error>> {
    loop {
        let (stream, _) = listener.accept().await?;
        let file = file.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let body = by_reference(file.clone());
            async { Ok::<_, Infallible>(Response::new(body)) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

fn by_reference(file: FileBytes) -> FileBody {
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": hyper's HTTP/1 passes bodies on
    // as they are, and the stream looks at their addresses only.
    FileBody::by_reference(unsafe { file.into_frames() })
}
