//! Conversations under a clock that jumps to the next time whenever everyone waits.

use std::future::poll_fn;
use std::ops::AsyncFnOnce;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use http::Request;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::spawn_local;
use tokio::time::sleep;
use underpass_daemon::{Accepted, Service};

use super::*;
use crate::conversation::tests::{BIG_BYTES, keep_counting, runtime, server, tcp, unix};
use crate::limits::Limits;
use crate::transport::Transport;

/// Has a client converse with a server of the file `/big`; gives how long the conversation took.
fn conversation<P: 'static>(
    connect: impl AsyncFnOnce() -> (Accepted, P),
    client: impl AsyncFnOnce(P, Rc<Shared>) + 'static,
) -> Duration {
    let (_dir, shared) = server(Limits::default());
    runtime().block_on(async {
        let (socket, peer) = connect().await;
        let client = spawn_local(client(peer, Rc::clone(&shared)));
        let begin = Instant::now();
        let idle = Idle::new(Transport::new(socket));
        let options = Http2Options::default();
        tokio::select! {
            () = converse(idle, &shared, &options) => {}
            () = keep_counting(&shared) => unreachable!("it has no end"),
        };
        let took = begin.elapsed();
        assert_eq!((shared.under_hyper.get(), shared.busy.get()), (0, 0));
        client.await.unwrap();
        took
    })
}

async fn begin<P: AsyncRead + AsyncWrite + Unpin>(
    peer: P,
    window: u32,
) -> (SendRequest<Bytes>, Connection<P>) {
    let mut builder = Builder::new();
    builder.initial_window_size(window).initial_connection_window_size(1 << 30);
    builder.handshake(peer).await.unwrap()
}

fn big(method: &str) -> Request<()> {
    Request::builder().method(method).uri("http://x/big").body(()).unwrap()
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset_after_two_minutes_and_the_connection_stays() {
    let took = conversation(unix, async |peer: UnixStream, _| {
        let (mut client, connection) = begin(peer, 1_000).await;
        let connection = spawn_local(connection);
        let begin = Instant::now();
        let response = client.send_request(big("GET"), true).unwrap().0.await.unwrap();
        let mut stream = response.into_body();
        assert_eq!(stream.data().await.unwrap().unwrap().len(), 1_000);
        let error = stream.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        assert!((120..124).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
        let response = client.send_request(big("HEAD"), true).unwrap().0.await.unwrap();
        assert_eq!(response.status(), 200);
        drop((client, stream, response));
        connection.await.unwrap().unwrap();
    });
    assert!((120..124).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_client_that_takes_nothing_of_its_responses_is_reset_after_two_minutes() {
    let took = conversation(tcp, async |peer: TcpStream, _| {
        let (mut client, mut connection) = begin(peer, 1 << 30).await;
        let response = client.send_request(big("GET"), true).unwrap().0;
        let _response = tokio::select! {
            response = response => response.unwrap(),
            end = &mut connection => panic!("{end:?}"),
        };
        sleep(Duration::from_secs(200)).await;
        let end = connection.await.unwrap_err();
        assert!(end.is_io(), "{end}");
    });
    assert!((120..124).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_connection_on_which_nothing_happens_ends_after_75_seconds() {
    for asks in [true, false] {
        let took = conversation(unix, async move |peer: UnixStream, _| {
            let (mut client, connection) = begin(peer, 1_000).await;
            let connection = spawn_local(connection);
            if asks {
                let response = client.send_request(big("HEAD"), true).unwrap().0;
                assert_eq!(response.await.unwrap().status(), 200);
            }
            let error = poll_fn(|cx| client.poll_ready(cx)).await;
            connection.await.unwrap().unwrap();
            assert!(error.is_ok() || error.is_err_and(|it| it.reason() == Some(Reason::NO_ERROR)));
        });
        assert!((75..78).contains(&took.as_secs()), "{took:?}");
    }
}

#[test]
fn a_client_that_never_begins_has_75_seconds_too() {
    let took = conversation(unix, async |mut peer: UnixStream, _| {
        let mut said = Vec::new();
        peer.read_to_end(&mut said).await.unwrap();
    });
    assert!((75..78).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_stopping_server_ends_what_was_begun_and_begins_no_more() {
    let took = conversation(tcp, async |peer: TcpStream, shared: Rc<Shared>| {
        let (mut client, connection) = begin(peer, 100_000).await;
        let connection = spawn_local(connection);
        let response = client.send_request(big("GET"), true).unwrap().0.await.unwrap();
        shared.stop();
        let mut stream = response.into_body();
        let (mut len, mut is_told) = (0, false);
        while let Some(data) = stream.data().await {
            let data = data.unwrap();
            len += data.len();
            stream.flow_control().release_capacity(data.len()).unwrap();
            assert_eq!(shared.idle(), 0, "it is not idle");
            if len > BIG_BYTES / 2 && !is_told {
                let error = poll_fn(|cx| client.poll_ready(cx)).await.unwrap_err();
                is_told = error.is_go_away() && error.reason() == Some(Reason::NO_ERROR);
            }
        }
        assert!(len == BIG_BYTES && is_told);
        drop((client, stream));
        connection.await.unwrap().unwrap();
    });
    assert!(took.as_secs() < 10, "{took:?}");
}

#[test]
fn an_idle_connection_of_a_stopping_server_ends_at_once() {
    let took = conversation(unix, async |peer: UnixStream, shared: Rc<Shared>| {
        let (mut client, connection) = begin(peer, 1_000).await;
        let connection = spawn_local(connection);
        let response = client.send_request(big("HEAD"), true).unwrap().0.await.unwrap();
        assert_eq!(response.status(), 200);
        sleep(Duration::from_secs(1)).await;
        shared.stop();
        connection.await.unwrap().unwrap();
    });
    assert!(took.as_secs() < 2, "{took:?}");
}
