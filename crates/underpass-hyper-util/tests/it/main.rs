//! hyper-util's client with a connector of ours, call by call: no byte of the file in user memory.
#![expect(clippy::unwrap_used, reason = "a test ends where its set-up fails")]

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use underpass::{FileBytes, Stability};
use underpass_testkit::payload::difference;
use underpass_testkit::served::{LEN, assert_by_reference, file, trace};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, strace, test_name};

#[path = "../../examples/hyper_upload.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod example;

/// Takes one upload and answers it; the body.
async fn receive_upload(listener: TcpListener) -> Bytes {
    let (socket, _) = listener.accept().await.unwrap();
    let (got, took) = oneshot::channel();
    let got = Mutex::new(Some(got));
    let answer = service_fn(async |request: Request<Incoming>| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        got.lock().unwrap().take().unwrap().send(body).unwrap();
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(socket), answer)
        .await
        .unwrap();
    took.await.unwrap()
}

#[test]
fn hyper_utils_client_uploads_a_body_by_sendfile_alone() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let body = FileBytes::map(file, .., Stability::Guard).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
            strace::mark();
            let (sent, got) = tokio::join!(example::upload(body, url), receive_upload(listener));
            strace::mark();
            sent.unwrap();
            assert_eq!(difference(&got, 0, LEN), None);
        });
    }
    require!(Capability::Strace);
    assert_by_reference(&trace(test_name!()), 0);
}
