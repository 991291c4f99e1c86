//! Conversations under a clock that jumps to the next time whenever everyone waits.

use std::future::poll_fn;
use std::num::{NonZeroU64, NonZeroUsize};
use std::ops::AsyncFnOnce;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};
use underpass::Stability;
use underpass_daemon::Accepted;
use underpass_daemon::log::{OpenLog, Sink};

use super::ticks::TICK;
use super::*;
use crate::access_log::AccessLog;
use crate::connection::{Idle, Shared};
use crate::limits::Limits;
use crate::root::Root;
use crate::service::Service;
use crate::site::Site;

/// More than the queues of two sockets hold.
pub(super) const BIG_BYTES: usize = 6 << 20;

/// Two ends of a TCP connection: the server's, and that of a client with a small window.
pub(super) async fn tcp() -> (Accepted, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpSocket::new_v4().unwrap();
    // A window that every read opens.
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let peer = socket.connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, address) = listener.accept().await.unwrap();
    (Accepted::Tcp(stream, address), peer)
}

/// Of a Unix socket, whose queue shrinks as it is read, and not when a kernel has time for it.
pub(super) async fn unix() -> (Accepted, UnixStream) {
    let (stream, peer) = UnixStream::pair().unwrap();
    (Accepted::Unix(stream), peer)
}

/// Has a client converse with a server of the file `/big`; gives how long the conversation took.
fn conversation<P: 'static>(
    connect: impl AsyncFnOnce() -> (Accepted, P),
    client: impl AsyncFnOnce(P) + 'static,
) -> Duration {
    conversation_with(false, connect, client)
}

/// The same with a server that may be about to stop.
fn conversation_with<P: 'static>(
    is_stopping: bool,
    connect: impl AsyncFnOnce() -> (Accepted, P),
    client: impl AsyncFnOnce(P) + 'static,
) -> Duration {
    conversation_under(Limits::default(), is_stopping, connect, client)
}

/// The same under other limits.
fn conversation_under<P: 'static>(
    limits: Limits,
    is_stopping: bool,
    connect: impl AsyncFnOnce() -> (Accepted, P),
    client: impl AsyncFnOnce(P) + 'static,
) -> Duration {
    let (_dir, shared) = server(limits);
    shared.is_stopping.set(is_stopping);
    runtime().block_on(async {
        let (socket, peer) = connect().await;
        let client = spawn_local(client(peer));
        let begin = Instant::now();
        let mut idle = Idle::new(Transport::new(socket));
        let conversing = async {
            loop {
                if idle.unread.is_empty() {
                    poll_fn(|cx| idle.transport.poll_read_ready(cx)).await.unwrap();
                }
                match converse(idle, &shared).await {
                    Some(again) => idle = again,
                    None => return begin.elapsed(),
                }
            }
        };
        let took = tokio::select! {
            took = conversing => took,
            () = keep_counting(&shared) => unreachable!("it has no end"),
        };
        client.await.unwrap();
        took
    })
}

/// What connections share of a server of the file `/big`, and where that is.
pub(super) fn server(limits: Limits) -> (tempfile::TempDir, Rc<Shared>) {
    let dir = tempfile::tempdir().unwrap();
    let big = std::fs::File::create(dir.path().join("big")).unwrap();
    big.set_len(BIG_BYTES as u64).unwrap();
    let service = Service::new(Root::open(dir.path()).unwrap(), NonZeroUsize::MIN, Stability::None);
    let lines = OpenLog::open(&Sink::Off).unwrap().start(|_| {}).unwrap().lines();
    let site = Site::new(service, AccessLog::new(lines), std::sync::Arc::default());
    (dir, Rc::new(Shared::new(site, None, None, limits)))
}

pub(super) fn runtime() -> LocalRuntime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build_local(LocalOptions::default()).unwrap()
}

/// Asks how many connections are idle, as a worker does that stops.
pub(super) async fn keep_counting(shared: &Shared) {
    loop {
        sleep(TICK / 2).await;
        let (idle, busy) = (underpass_daemon::Service::idle(shared), shared.busy.get());
        assert!(idle + busy <= 1, "there is one connection: {idle} idle, {busy} busy");
    }
}

async fn read_head(peer: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(peer.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads `/big` a window at a time, twice a minute.
async fn read_slowly(peer: &mut TcpStream) {
    assert!(read_head(peer).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let mut left = BIG_BYTES;
    let mut window = vec![0; 128 * 1024];
    while left > 0 {
        sleep(Duration::from_secs(30)).await;
        let most = left.min(window.len());
        left -= peer.read(&mut window[..most]).await.unwrap();
    }
}

async fn rest(mut peer: impl AsyncReadExt + Unpin) -> String {
    let mut text = String::new();
    peer.read_to_string(&mut text).await.unwrap();
    text
}

const BIG: &[u8] = b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
const BIG_AND_LAST: &[u8] = b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn a_client_that_takes_nothing_of_its_response_is_reset_after_two_minutes() {
    let took = conversation(tcp, async |mut peer: TcpStream| {
        peer.write_all(BIG).await.unwrap();
        sleep(Duration::from_secs(200)).await;
        let error = peer.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
    assert!((120..124).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_client_that_reads_slowly_gets_all_however_long_there_is_no_room_for_more() {
    let took = conversation(tcp, async |mut peer: TcpStream| {
        peer.write_all(BIG_AND_LAST).await.unwrap();
        read_slowly(&mut peer).await;
        assert_eq!(rest(peer).await, "");
    });
    assert!(took.as_secs() > 600, "{took:?}");
}

#[test]
fn a_client_that_takes_less_than_the_rate_is_reset() {
    let limits = Limits { rate_min: NonZeroU64::new(1_000_000), ..Limits::default() };
    let took = conversation_under(limits, false, tcp, async |mut peer: TcpStream| {
        peer.write_all(BIG).await.unwrap();
        for _ in 0..12 {
            sleep(Duration::from_secs(5)).await;
            // The end of it is a reset.
            let (Ok(_) | Err(_)) = peer.read(&mut [0; 1024]).await;
        }
        let error = peer.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    });
    assert!((30..=34).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_client_that_takes_more_than_the_rate_gets_all() {
    let limits = Limits { rate_min: NonZeroU64::new(10_000), ..Limits::default() };
    let took = conversation_under(limits, false, unix, async |mut peer: UnixStream| {
        peer.write_all(BIG_AND_LAST).await.unwrap();
        assert!(read_head(&mut peer).await.starts_with("HTTP/1.1 200 OK\r\n"));
        let mut left = BIG_BYTES;
        while left > 0 {
            sleep(Duration::from_secs(5)).await;
            left -= peer.read(&mut vec![0; left.min(64 * 1024)]).await.unwrap();
        }
        assert_eq!(rest(peer).await, "");
    });
    assert!(took.as_secs() > 400, "{took:?}");
}

#[test]
fn a_client_that_still_takes_the_last_response_of_a_stopping_server_is_one_busy_client() {
    let asked = async || {
        let (socket, mut peer) = tcp().await;
        peer.write_all(BIG).await.unwrap();
        (socket, peer)
    };
    let took = conversation_with(true, asked, async |mut peer: TcpStream| {
        read_slowly(&mut peer).await;
        assert_eq!(rest(peer).await, "");
    });
    assert!(took.as_secs() > 600, "{took:?}");
}

#[test]
fn a_byte_of_the_next_request_has_its_time_from_the_end_of_the_response() {
    conversation(unix, async |mut peer: UnixStream| {
        let part = b"GET /big HTTP/1.1\r\nHost: x\r\nRange: bytes=0-65535\r\n\r\nG";
        peer.write_all(part).await.unwrap();
        assert!(read_head(&mut peer).await.starts_with("HTTP/1.1 206 Partial Content\r\n"));
        // All that is left of it is in the queue of the socket.
        for _ in 0..4 {
            sleep(Duration::from_secs(14)).await;
            peer.read_exact(&mut [0; 16 * 1024]).await.unwrap();
        }
        sleep(Duration::from_secs(25)).await;
        peer.write_all(b"ET /none HTTP/1.1\r\nHost: x\r\n\r\nG").await.unwrap();
        assert!(read_head(&mut peer).await.starts_with("HTTP/1.1 404 Not Found\r\n"));
        let answered = Instant::now();
        let answer = rest(peer).await;
        assert!(answer.contains("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert!((30..=33).contains(&answered.elapsed().as_secs()), "{:?}", answered.elapsed());
    });
}

#[test]
fn a_head_that_comes_byte_by_byte_is_a_408_after_half_a_minute() {
    let took = conversation(tcp, async |mut peer: TcpStream| {
        let (mut reader, mut writer) = peer.split();
        let mut answer = String::new();
        let write = async {
            for byte in BIG {
                writer.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_secs(2)).await;
            }
        };
        tokio::select! {
            read = reader.read_to_string(&mut answer) => assert!(read.is_ok(), "{read:?}"),
            () = write => panic!("the head came whole"),
        }
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(answer.ends_with(
            "\r\n\r\n408 Request Timeout\nThe head of the request did not arrive in time.\n"
        ));
    });
    assert!((30..=32).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn content_that_does_not_come_is_waited_for_half_a_minute_after_the_response() {
    let took = conversation(tcp, async |mut peer: TcpStream| {
        peer.write_all(b"GET /none HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
            .await
            .unwrap();
        let begin = Instant::now();
        assert!(read_head(&mut peer).await.starts_with("HTTP/1.1 404 Not Found\r\n"));
        assert!(begin.elapsed() < TICK / 2, "the response does not wait");
        assert!(rest(peer).await.starts_with("404 Not Found\n"));
    });
    // hyper reads it for 30 s; the client closes as soon as it sees the end.
    assert!((30..=32).contains(&took.as_secs()), "{took:?}");
}

#[test]
fn a_connection_that_is_closed_in_stages_does_not_wait_long_for_silence() {
    let took = conversation(tcp, async |mut peer: TcpStream| {
        peer.write_all(b"GET / HTTP/9.9\r\n\r\n").await.unwrap();
        assert!(read_head(&mut peer).await.starts_with("HTTP/1.1 505 "));
        // It does not close, and the clock jumps while the kernel delays its acknowledgement.
        sleep(Duration::from_secs(100_000)).await;
    });
    assert!((5..10_000).contains(&took.as_secs()), "{took:?}");
}
