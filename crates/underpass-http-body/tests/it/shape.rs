//! The claim itself, call by call: unmodified hyper, and no byte of the file in user memory.

use std::error::Error;
use std::future::Future;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use underpass::{FileBytes, Listener, Method, Policy, Stability};
use underpass_http_body::FileBody;
use underpass_testkit::payload::difference;
use underpass_testkit::served::{HTTP2_COPIED_MAX, LEN, assert_by_reference, file, trace, written};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, strace, test_name};

use crate::by_reference;

#[path = "../../examples/hyper_http1.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod http1_example;
#[path = "../../examples/hyper_http2.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod http2_example;

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
    get_http2_in_frames(socket, 16 * 1024).await
}

/// Allows frames of `frame_bytes`, and has room for the whole file on its way.
async fn get_http2_in_frames(socket: TcpStream, frame_bytes: u32) -> Bytes {
    let (mut client, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .max_frame_size(frame_bytes)
        .initial_stream_window_size(u32::try_from(2 * LEN).unwrap())
        .initial_connection_window_size(u32::try_from(2 * LEN).unwrap())
        .handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("http://x/").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn hyper_http1_sends_a_body_by_sendfile_alone() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let file = FileBytes::map(file, .., Stability::Guard).unwrap();
        return fetch_from(|listener| http1_example::serve(listener, file), get_http1);
    }
    require!(Capability::Strace);
    let calls = trace(test_name!());
    assert_by_reference(&calls, 0);
    let sendfiles = strace::count(&calls, "sendfile");
    assert!(sendfiles < 2_000, "{sendfiles} calls for 32 MiB: not a quantum at a time");
}

#[test]
fn hyper_http2_copies_the_file_once_and_sends_none_of_it_by_sendfile() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let file = FileBytes::map(file, .., Stability::Guard).unwrap();
        let body = move || FileBody::copied(file.clone());
        return fetch_from(|listener| http2_example::serve(listener, body), get_http2);
    }
    require!(Capability::Strace);
    let calls = trace(test_name!());
    assert_eq!(strace::bytes(&calls, "pread64"), LEN);
    assert_eq!(strace::count(&calls, "sendfile"), 0);
    assert!(written(&calls) >= LEN);
}

#[test]
fn hyper_http2_sends_the_payload_of_its_frames_by_sendfile_where_it_is_told_to() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let file = FileBytes::map(file, .., Stability::Guard).unwrap();
        let body = move || by_reference(file.clone());
        let policy = Policy::Prefer(Method::Sendfile);
        let by_sendfile = |listener: Listener<_>| listener.with_policy(policy);
        return fetch_from(|l| http2_example::serve(by_sendfile(l), body), get_http2);
    }
    require!(Capability::Strace);
    assert_by_reference(&trace(test_name!()), HTTP2_COPIED_MAX);
}

#[test]
fn hyper_http2_sends_large_frames_by_sendfile_without_being_told_to() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let file = FileBytes::map(file, .., Stability::Guard).unwrap();
        let body = move || by_reference(file.clone());
        return fetch_from(
            |listener| http2_example::serve(listener, body),
            async |socket| get_http2_in_frames(socket, 1 << 20).await,
        );
    }
    require!(Capability::Strace);
    let calls = trace(test_name!());
    // Frames of 1 MiB; what a frame or a piece leaves may be small enough to be copied.
    assert!(strace::bytes(&calls, "sendfile") > LEN / 10 * 9);
}
