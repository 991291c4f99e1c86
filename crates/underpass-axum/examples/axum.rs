//! One file by unmodified axum, its body leaving by sendfile: the listener is all that differs.
//! `cargo run -p underpass-axum --example axum -- FILE [ADDRESS]`.

use std::error::Error;
use std::fs::File;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use bytes::Bytes;
use tokio::net::TcpListener;
use underpass::{FileBytes, Stability};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    serve(TcpListener::bind(address).await?, map(file)?).await
}

/// The file's bytes, by reference.
pub(crate) fn map(file: File) -> Result<Bytes, Box<dyn Error>> {
    let mapped = FileBytes::map(file, .., Stability::Guard)?;
    // SAFETY: `FileBytes::into_bytes`, "no one writes to that part": axum speaks HTTP/2 too
    // where it is enabled, and layers may read, so the operator must leave the file alone.
    Ok(unsafe { mapped.into_bytes() })
}

/// Answers `GET /` with the file.
pub(crate) async fn serve(socket: TcpListener, file: Bytes) -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/", get(|| async move { Body::from(file.clone()) }));
    axum::serve(underpass_axum::listener(socket), app).await?;
    Ok(())
}
