//! The claim itself, call by call: unmodified tonic, and the file's bytes not in user memory.

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::net::TcpListener;
use underpass::{Method, Policy};
use underpass_testkit::payload::difference;
use underpass_testkit::served::{HTTP2_COPIED_MAX, LEN, assert_by_reference, file, trace};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, strace, test_name};

#[path = "../../examples/tonic.rs"]
#[expect(dead_code, reason = "its main is not called here")]
mod example;

/// Calls the example's method with tonic's own client.
async fn call(address: SocketAddr) -> Bytes {
    let channel = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap())
        .max_decoding_message_size(usize::MAX);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<(), example::Contents>::default();
    let path = "/underpass.Files/Read".parse().unwrap();
    let reply = grpc.unary(tonic::Request::new(()), path, codec).await.unwrap();
    reply.into_inner().data
}

#[test]
fn tonic_sends_a_field_that_is_a_file_by_sendfile() {
    if strace::is_inside() {
        let (_dir, file) = file().unwrap();
        let body = example::map(file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let client = async {
                strace::mark();
                let got = call(address).await;
                strace::mark();
                assert_eq!(difference(&got, 0, LEN), None);
            };
            tokio::select! {
                end = example::serve(listener, Policy::Prefer(Method::Sendfile), body) => panic!("{end:?}"),
                () = client => {}
            }
        });
    }
    require!(Capability::Strace);
    assert_by_reference(&trace(test_name!()), HTTP2_COPIED_MAX);
}
