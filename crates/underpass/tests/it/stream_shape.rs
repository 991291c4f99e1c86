//! The claim itself, call by call: unmodified servers, and no payload byte in user memory.
//!
//! Each test runs an example's own code under strace, with a real client in the same process.

use std::error::Error;
use std::fs::File;
use std::future::Future;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use underpass::{Listener, Route};
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Call, Strace};
use underpass_testkit::{require, test_name};

#[cfg(feature = "axum")]
#[path = "../../examples/axum.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod axum_example;
#[path = "../../examples/hyper_http1.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod http1_example;
#[path = "../../examples/hyper_http2.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod http2_example;
#[cfg(feature = "tonic")]
#[path = "../../examples/tonic.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod tonic_example;

/// Eight times what a stream sends before it yields, and no multiple of a page.
const LEN: u64 = (32 << 20) + 5;

/// A part of the payload's name, by which strace's record tells its descriptors.
const NAME: &str = "underpass-payload";

/// The payload on a disk, under a name.
fn payload_file() -> (tempfile::TempDir, File) {
    let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
    let path = dir.path().join(NAME);
    std::fs::write(&path, pattern(0..LEN)).unwrap();
    (dir, File::open(path).unwrap())
}

/// Fetches the payload from a server in the same process, between two marks.
fn fetch_from<S>(
    serve: impl FnOnce(Listener<TcpListener>) -> S,
    fetch: impl AsyncFnOnce(TcpStream) -> Bytes,
) where
    S: Future<Output = Result<(), Box<dyn Error>>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let socket = TcpStream::connect(address).await.unwrap();
            strace::mark();
            let got = fetch(socket).await;
            strace::mark();
            assert_eq!(difference(&got, 0, LEN), None);
        };
        tokio::select! {
            end = serve(Listener::new(listener)) => panic!("the server ended: {end:?}"),
            () = client => {}
        }
    });
}

/// The calls that the named test makes between its marks.
fn trace(test: &str) -> Vec<Call> {
    let trace = Strace::of_test(test).unwrap().run().unwrap();
    trace.assert_success();
    trace.marked().to_vec()
}

/// The payload went by sendfile, all but `copied_max` bytes, and nothing else read the file.
fn assert_sent_by_reference(calls: &[Call], copied_max: u64) {
    let of_file: Vec<_> = calls.iter().filter(|call| call.arguments.contains(NAME)).collect();
    for call in &of_file {
        match call.name.as_str() {
            "sendfile" => {}
            // The gate: one byte of a quantum, or a count of pages.
            "preadv2" => assert!(call.returned <= Some(1), "{call:?}"),
            "cachestat" | "syscall_0x1c3" | "fstat" | "newfstatat" => {}
            _ => panic!("the file was not to be used so: {call:?}"),
        }
    }
    let sent = strace::bytes(calls, "sendfile");
    assert!((LEN - copied_max..=LEN).contains(&sent), "{sent} of {LEN} bytes by sendfile");
    let written: u64 = ["sendmsg", "sendto", "write", "writev"]
        .into_iter()
        .map(|name| strace::bytes(calls, name))
        .sum();
    assert!(written <= copied_max + 4_096, "{written} bytes by copying calls");
}

async fn get_http1(socket: TcpStream) -> Bytes {
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

async fn get_http2(socket: TcpStream) -> Bytes {
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Frames of 16 KiB, and h2 copies up to 256 bytes of each to fill the head's segment.
const HTTP2_COPIED_MAX: u64 = (LEN / 16_384 + 2) * (256 + 9 + 64);

#[test]
fn hyper_http1_sends_a_body_by_sendfile_alone() {
    if strace::is_inside() {
        let (_dir, file) = payload_file();
        let body = http1_example::map(file).unwrap();
        return fetch_from(|listener| http1_example::serve(listener, body), get_http1);
    }
    require!(Capability::Strace);
    let calls = trace(test_name!());
    assert_sent_by_reference(&calls, 0);
    let sendfiles = strace::count(&calls, "sendfile");
    assert!(sendfiles < 2_000, "{sendfiles} calls for 32 MiB: not a quantum at a time");
}

#[test]
fn hyper_http2_sends_the_payload_of_its_frames_by_sendfile() {
    if strace::is_inside() {
        let (_dir, file) = payload_file();
        let body = http2_example::map(file).unwrap();
        let by_sendfile = |listener: Listener<_>| listener.with_route(Route::Sendfile);
        return fetch_from(|l| http2_example::serve(by_sendfile(l), body), get_http2);
    }
    require!(Capability::Strace);
    assert_sent_by_reference(&trace(test_name!()), HTTP2_COPIED_MAX);
}

#[cfg(feature = "axum")]
#[test]
fn axum_sends_a_body_by_sendfile_alone() {
    if strace::is_inside() {
        let (_dir, file) = payload_file();
        let body = axum_example::map(file).unwrap();
        return fetch_from(|listener| axum_example::serve(listener, body), get_http1);
    }
    require!(Capability::Strace);
    assert_sent_by_reference(&trace(test_name!()), 0);
}

#[cfg(feature = "tonic")]
#[test]
fn tonic_sends_a_field_that_is_a_file_by_sendfile() {
    if strace::is_inside() {
        let (_dir, file) = payload_file();
        let body = tonic_example::map(file).unwrap();
        let by_sendfile = |listener: Listener<_>| listener.with_route(Route::Sendfile);
        return fetch_from(|l| tonic_example::serve(by_sendfile(l), body), call_grpc);
    }
    require!(Capability::Strace);
    assert_sent_by_reference(&trace(test_name!()), HTTP2_COPIED_MAX);
}

/// Calls the example's method with tonic's own client.
#[cfg(feature = "tonic")]
async fn call_grpc(socket: TcpStream) -> Bytes {
    let address = socket.peer_addr().unwrap();
    let channel = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap())
        .max_decoding_message_size(usize::MAX);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), tonic_example::Contents>::default();
    let path = "/underpass.Files/Read".parse().unwrap();
    let reply = grpc.unary(tonic::Request::new(()), path, codec).await.unwrap();
    reply.into_inner().data
}
