//! Files that change in mid-send: a call that ends well has sent the file as it was.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream;
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use underpass::{FileBytes, Stability};
use underpass_http_body::FileBody;
use underpass_testkit::midsend::{Fault, file};
use underpass_testkit::payload::patterned_file;
use underpass_testkit::wait::until_file_times_move;
use underpass_tonic::{ByReference, incoming};

use crate::shape::call;
use crate::shape::example::files::files_server::{Files, FilesServer};
use crate::shape::example::files::{Chunk, Nothing};

/// How the file is put into messages.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// One message with the whole file by reference.
    Whole,
    /// Copied, a message each 64 KiB.
    Copied,
}

struct Sender(Kind, FileBytes);

#[tonic::async_trait]
impl Files for Sender {
    type ReadStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn read(&self, _: Request<Nothing>) -> Result<Response<Self::ReadStream>, Status> {
        use futures_util::StreamExt;
        Ok(Response::new(match self.0 {
            Kind::Whole => Box::pin(stream::iter([Ok(Chunk { data: by_reference(&self.1) })])),
            Kind::Copied => {
                let chunks = FileBody::copied(self.1.clone());
                Box::pin(chunks.map(|data| Ok(Chunk { data: data? })))
            }
        }))
    }
}

/// Answers with each of its files.
struct Many(Vec<FileBytes>);

#[tonic::async_trait]
impl Files for Many {
    type ReadStream = stream::Iter<std::vec::IntoIter<Result<Chunk, Status>>>;

    async fn read(&self, _: Request<Nothing>) -> Result<Response<Self::ReadStream>, Status> {
        let chunks = self.0.iter().map(|file| Ok(Chunk { data: by_reference(file) }));
        Ok(Response::new(stream::iter(chunks.collect::<Vec<_>>())))
    }
}

#[expect(unsafe_code, reason = "bytes of files that change are what is tested")]
fn by_reference(file: &FileBytes) -> Bytes {
    // SAFETY: `FileBytes::into_bytes`: that it is not kept is what this test is about; only the
    // C library's copies and the kernel read the bytes, and neither minds what they are.
    unsafe { file.clone().into_bytes() }
}

/// What a client gets of a call in whose midst `fault` befalls the file: held by its window of
/// 64 KiB, which it opens by reading messages.
fn fetch(kind: Kind, fault: Fault, is_plain: bool) -> (Result<Vec<u8>, Status>, Vec<u8>) {
    let (file, was) = file().unwrap();
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let got = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = ByReference::new(FilesServer::new(Sender(kind, mapped)));
        let router = Server::builder().add_service(service);
        let serving = tokio::spawn(async move {
            if is_plain {
                router.serve_with_incoming(TcpIncoming::from(listener)).await
            } else {
                router.serve_with_incoming(incoming(listener)).await
            }
        });
        let mut chunks = call(address).await;
        fault.befall(&file).unwrap();
        let mut got = Ok(Vec::new());
        while let Ok(bytes) = &mut got {
            match chunks.message().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk.data),
                Ok(None) => break,
                Err(status) => got = Err(status),
            }
        }
        serving.abort();
        got
    });
    (got, was)
}

#[test]
fn a_changed_file_ends_the_call_with_an_error_and_a_grown_one_is_whole() {
    // What is copied needs no connection of ours.
    for (kind, is_plain) in [(Kind::Whole, false), (Kind::Copied, false), (Kind::Copied, true)] {
        for &fault in Fault::ALL {
            let (got, was) = fetch(kind, fault, is_plain);
            let case = format!("{kind:?} {fault:?}, plain: {is_plain}");
            match got {
                Ok(got) => assert!(fault == Fault::Grown && got == was, "{case}: complete"),
                Err(status) => assert!(fault != Fault::Grown, "{case}: {status}"),
            }
        }
    }
}

/// The body of a call, with nothing beneath that checks.
async fn answer<F: Files>(mut service: ByReference<FilesServer<F>>) -> Body {
    // A message of no bytes: not compressed, no length.
    let request = http::Request::post("/underpass.Files/Read")
        .body(Body::new(http_body_util::Full::new(Bytes::from_static(&[0; 5]))))
        .unwrap();
    service.call(request).await.unwrap().into_body()
}

/// Asked frame by frame.
#[tokio::test]
async fn a_file_that_changes_before_the_trailers_takes_the_place_of_them() {
    for fault in [Fault::Overwritten, Fault::Truncated] {
        let (file, was) = file().unwrap();
        let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
        let service = ByReference::new(FilesServer::new(Sender(Kind::Whole, mapped)));
        let mut body = answer(service).await;
        let mut sent = 0;
        while sent < was.len() {
            sent += body.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        fault.befall(&file).unwrap();
        let end = body.frame().await.unwrap().unwrap_err();
        assert_eq!(end.code(), tonic::Code::DataLoss, "{end}");
        // The header and the field's tag and length are 5 and 5 bytes.
        assert_eq!(sent, was.len() + 10);
    }
}

/// A call that refers to files without end keeps a few of them open: the oldest is asked once more
/// when it goes, and not only before trailers that never come.
#[tokio::test]
async fn a_call_does_not_keep_every_file_open() {
    let small = || patterned_file(1_000).unwrap();
    let files: Vec<_> = std::iter::repeat_with(small).take(100).collect();
    until_file_times_move();
    let mapped = |file: &File| FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard);
    let mapped = files.iter().map(|file| mapped(file).unwrap()).collect();
    let mut body = answer(ByReference::new(FilesServer::new(Many(mapped)))).await;
    let mut referred = 0;
    let end = loop {
        let frame = body.frame().await.unwrap();
        match frame.map(|frame| frame.into_data().unwrap().len()) {
            Ok(1_000) => referred += 1,
            Ok(_) => {}
            Err(status) => break status,
        }
        if referred == 1 {
            files[0].write_all_at(b"torn", 0).unwrap();
        }
    };
    assert_eq!((end.code(), referred), (tonic::Code::DataLoss, 64));
}
