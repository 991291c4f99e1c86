//! Uploads a file by hyper-util's client, its bytes leaving by sendfile:
//! `cargo run -p underpass-hyper-util --example hyper_upload -- FILE URL`.

use std::error::Error;
use std::fs::File;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use underpass::{FileBytes, Stability};
use underpass_hyper_util::Connector;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let url = arguments.next().ok_or("to which URL?")?.parse()?;
    upload(map(file)?, url).await
}

/// The file's bytes, by reference.
pub(crate) fn map(file: File) -> Result<Bytes, Box<dyn Error>> {
    let mapped = FileBytes::map(file, .., Stability::Guard)?;
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": hyper's HTTP/1 passes bodies on
    // as they are, and the stream looks at their addresses only.
    Ok(unsafe { mapped.into_bytes() })
}

/// Puts the file there.
pub(crate) async fn upload(file: Bytes, url: Uri) -> Result<(), Box<dyn Error>> {
    let client = Client::builder(TokioExecutor::new()).build(Connector::default());
    let response = client.request(Request::put(url).body(Full::new(file))?).await?;
    if response.status().is_success() { Ok(()) } else { Err(response.status().as_str().into()) }
}
