//! The claim itself, call by call: unmodified axum, and no byte of the file in user memory.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use underpass::{FileBytes, Stability};
use underpass_testkit::payload::difference;
use underpass_testkit::served::{LEN, assert_by_reference, file, trace};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, strace, test_name};

#[path = "../../examples/axum.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod example;

async fn get(socket: TcpStream) -> Bytes {
    let (mut client, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "x").body(Empty::<Bytes>::new()).unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn axum_sends_a_body_by_sendfile_alone() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let body = FileBytes::map(file, .., Stability::Guard).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = async {
                let socket = TcpStream::connect(address).await.unwrap();
                strace::mark();
                let got = get(socket).await;
                strace::mark();
                assert_eq!(difference(&got, 0, LEN), None);
            };
            tokio::select! {
                end = example::serve(listener, body) => panic!("the server ended: {end:?}"),
                () = client => {}
            }
        });
    }
    require!(Capability::Strace);
    assert_by_reference(&trace(test_name!()), 0);
}
