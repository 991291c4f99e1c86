//! The claim itself, call by call: unmodified tonic, and the file's bytes not in user memory.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tonic::codec::Streaming;
use underpass::{FileBytes, Method, Policy, Stability};
use underpass_testkit::payload::difference;
use underpass_testkit::served::{HTTP2_COPIED_MAX, LEN, assert_by_reference, file, trace};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, strace, test_name};

use example::files::{Chunk, Nothing};

#[path = "../../examples/tonic.rs"]
#[expect(dead_code, reason = "its main is not called here")]
pub(crate) mod example;

/// Calls the example's method with tonic's own client.
pub(crate) async fn call(address: SocketAddr) -> Streaming<Chunk> {
    let channel = tonic::transport::Endpoint::try_from(format!("http://{address}")).unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.connect().await.unwrap())
        .max_decoding_message_size(usize::MAX);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<Nothing, Chunk>::default();
    let path = "/underpass.Files/Read".parse().unwrap();
    grpc.server_streaming(tonic::Request::new(Nothing {}), path, codec).await.unwrap().into_inner()
}

/// Fetches the file from the example in the same process, between two marks.
fn fetch(policy: Policy) {
    let (_dir, file) = file().unwrap();
    let file = FileBytes::map(file, .., Stability::Guard).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let mut got = Vec::new();
            strace::mark();
            let mut chunks = call(address).await;
            while let Some(chunk) = chunks.message().await.unwrap() {
                got.extend_from_slice(&chunk.data);
            }
            strace::mark();
            assert_eq!(difference(&got, 0, LEN), None);
        };
        tokio::select! {
            end = example::serve(listener, policy, file) => panic!("{end:?}"),
            () = client => {}
        }
    });
}

#[test]
fn tonic_sends_chunks_of_a_file_by_sendfile_where_it_is_told_to() {
    if strace::is_inside() {
        return fetch(Policy::Prefer(Method::Sendfile));
    }
    require!(Capability::Strace);
    assert_by_reference(&trace(test_name!()), HTTP2_COPIED_MAX);
}

#[test]
fn tonic_copies_frames_of_16_kib_unless_it_is_told_otherwise() {
    if strace::is_inside() {
        return fetch(Policy::Auto);
    }
    require!(Capability::Strace);
    let calls = trace(test_name!());
    let (read, sent) = (strace::bytes(&calls, "preadv2"), strace::bytes(&calls, "sendfile"));
    assert!(read > LEN / 10 * 9, "{read} bytes read of {LEN}");
    assert!(sent < LEN / 10, "{sent} bytes by sendfile of {LEN}");
}
