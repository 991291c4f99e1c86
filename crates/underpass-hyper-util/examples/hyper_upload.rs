//! Uploads a file by hyper-util's client, its bytes leaving by sendfile:
//! `cargo run -p underpass-hyper-util --example hyper_upload -- FILE URL`.

use std::error::Error;
use std::fs::File;

use http::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use underpass::{FileBytes, Stability};
use underpass_http_body::FileBody;
use underpass_hyper_util::Connector;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let url = arguments.next().ok_or("to which URL?")?.parse()?;
    upload(FileBytes::map(file, .., Stability::Guard)?, url).await
}

/// Puts the file there.
pub(crate) async fn upload(file: FileBytes, url: Uri) -> Result<(), Box<dyn Error>> {
    let client = Client::builder(TokioExecutor::new()).build(Connector::default());
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": the connector speaks HTTP/1
    // without TLS, which passes bodies on as they are, and looks at their addresses only.
    let body = FileBody::by_reference(unsafe { file.into_frames() });
    let response = client.request(Request::put(url).body(body)?).await?;
    if response.status().is_success() { Ok(()) } else { Err(response.status().as_str().into()) }
}
