//! One file by a gRPC method of unmodified tonic, its chunks leaving by sendfile:
//! `cargo run -p underpass-tonic --example tonic -- FILE [ADDRESS]`.
//!
//! FILE must not be written to meanwhile; where that cannot be promised, `FileBody::copied` takes
//! the place of the one unsafe line. `generated/` has the service and how it was made.

use std::error::Error;
use std::fs::File;
use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use underpass::{FileBytes, Method, Policy, Stability};
use underpass_http_body::FileBody;
use underpass_tonic::{ByReference, incoming_with_policy};

use files::files_server::{Files, FilesServer};
use files::{Chunk, Nothing};

#[path = "generated/files.rs"]
#[allow(missing_docs, unreachable_pub, unused_qualifications)]
#[allow(clippy::allow_attributes_without_reason, clippy::allow_attributes)]
pub(crate) mod files;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = File::open(arguments.next().ok_or("which FILE?")?)?;
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let file = FileBytes::map(file, .., Stability::Guard)?;
    // gRPC is HTTP/2, whose frames of 16 KiB `Policy::Auto` would copy, since that is cheaper.
    let policy = Policy::Prefer(Method::Sendfile);
    serve(TcpListener::bind(address).await?, policy, file).await
}

/// Serves the method.
pub(crate) async fn serve(
    socket: TcpListener,
    policy: Policy,
    file: FileBytes,
) -> Result<(), Box<dyn Error>> {
    let service = ByReference::new(FilesServer::new(OneFile(file)));
    let server = Server::builder().add_service(service);
    server.serve_with_incoming(incoming_with_policy(socket, policy)).await?;
    Ok(())
}

struct OneFile(FileBytes);

#[tonic::async_trait]
impl Files for OneFile {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn read(&self, _: Request<Nothing>) -> Result<Response<Self::ReadStream>, Status> {
        // SAFETY: `FileBytes::into_bytes`, "no one writes to that part of the file": h2 reads the
        // start of each frame, so leave FILE alone while it is served. If it is written to, the
        // call ends with an error.
        let body = FileBody::by_reference(unsafe { self.0.clone().into_frames() });
        let chunks = body.map(|data| Ok(Chunk { data: data? }));
        Ok(Response::new(Box::pin(chunks)))
    }
}
