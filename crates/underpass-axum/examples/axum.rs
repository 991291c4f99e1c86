//! One file by unmodified axum, its body leaving by sendfile over HTTP/1:
//! `cargo run -p underpass-axum --example axum -- FILE [ADDRESS]`.

use std::error::Error;
use std::fs::File;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::Version;
use axum::routing::get;
use tokio::net::TcpListener;
use underpass::{FileBytes, Stability};
use underpass_http_body::FileBody;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let socket = TcpListener::bind(address).await?;
    serve(socket, FileBytes::map(file, .., Stability::Guard)?).await
}

/// Answers `GET /` with the file.
pub(crate) async fn serve(socket: TcpListener, file: FileBytes) -> Result<(), Box<dyn Error>> {
    let app = Router::new().route("/", get(send)).with_state(file);
    axum::serve(underpass_axum::listener(socket), app).await?;
    Ok(())
}

async fn send(version: Version, State(file): State<FileBytes>) -> Body {
    if version >= Version::HTTP_2 {
        // Its frames are cheaper copied, and h2 reads the start of each.
        return Body::new(FileBody::copied(file));
    }
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": this application has no layer
    // that does, hyper's HTTP/1 passes bodies on as they are, and the listener's connections look
    // at their addresses only.
    Body::new(FileBody::by_reference(unsafe { file.into_frames() }))
}
