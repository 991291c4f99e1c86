//! Flows, and the common jobs in one call: what arrives, what ends, and by which calls.

use std::future::poll_fn;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use underpass::{Flow, Method, Side, copy_bidirectional, receive_file, send_file};
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::peer::{Way, collect, feed, set_nonblocking};

const LEN: u64 = 9_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to this process, of which tokio watches the first end.
fn connected() -> (TcpStream, std::net::TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_nonblocking(true).unwrap();
    (TcpStream::from_std(near).unwrap(), listener.accept().unwrap().0)
}

#[tokio::test]
async fn a_file_is_sent_and_received_in_one_call_each() {
    let (near, far) = connected();
    let file = patterned_file(LEN).unwrap();
    let got = collect(far.into());
    let sent = send_file(&file, 5.., &near).await.unwrap();
    assert_eq!(sent.of(Method::Sendfile).bytes, LEN - 5);
    drop(near);
    assert_eq!(difference(&got.join().unwrap().unwrap(), 5, LEN - 5), None);

    let (near, far) = connected();
    let fed = feed(far.into(), pattern(0..LEN));
    let kept = patterned_file(0).unwrap();
    let part = receive_file(&near, &kept, 7..10).await.unwrap();
    assert_eq!(part.moved(), 3);
    let rest = receive_file(&near, &kept, 10..).await.unwrap();
    assert_eq!((rest.moved(), rest.of(Method::Splice).bytes), (LEN - 3, LEN - 3));
    fed.join().unwrap().unwrap();
    let mut got = vec![0; usize::try_from(LEN).unwrap()];
    kept.read_exact_at(&mut got, 7).unwrap();
    assert_eq!(difference(&got, 0, LEN), None);
}

#[tokio::test]
async fn ranges_that_are_none_and_streams_that_end_early_are_errors() {
    let (near, far) = connected();
    let file = patterned_file(10).unwrap();
    #[expect(clippy::reversed_empty_ranges, reason = "it is what is refused")]
    let backwards = receive_file(&near, &file, 9..8).await.unwrap_err();
    assert_eq!(backwards.kind(), ErrorKind::InvalidInput);
    assert_eq!(send_file(&file, 11.., &near).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    drop(far);
    let short = receive_file(&near, &file, 0..4).await.unwrap_err();
    assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn both_ways_are_copied_and_an_end_of_one_leaves_the_other() {
    let (to_client, mut client) = connected();
    let (to_server, mut server) = connected();
    let served = thread::spawn(move || {
        let mut got = Vec::new();
        server.read_to_end(&mut got).unwrap();
        // The client has ended, and still gets its answer.
        server.write_all(&pattern(0..LEN)).unwrap();
        got
    });
    let asked = thread::spawn(move || {
        client.write_all(&pattern(100..LEN)).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        got
    });
    let copied = timeout(PATIENCE, copy_bidirectional(&to_client, &to_server)).await.unwrap();
    assert_eq!(copied, Ok((LEN - 100, LEN)));
    assert_eq!(difference(&served.join().unwrap(), 100, LEN - 100), None);
    assert_eq!(difference(&asked.join().unwrap(), 0, LEN), None);
}

#[tokio::test]
async fn a_peer_that_is_gone_is_named_by_its_side() {
    let (from, mut feeder) = connected();
    let (to, gone) = connected();
    rustix::net::sockopt::set_socket_linger(&gone, Some(Duration::ZERO)).unwrap();
    drop(gone);
    feeder.write_all(b"for no one").unwrap();
    let mut flow = Flow::new();
    let moved = timeout(PATIENCE, poll_fn(|cx| flow.poll_shutdown(cx, &from, &to))).await.unwrap();
    let error = moved.unwrap_err();
    assert_eq!((flow.failed_side(), flow.is_over()), (Some(Side::Sink), true), "{error}");
}

/// Both ends of a Unix socket, the far one full of nothing read.
fn full() -> (UnixStream, std::os::fd::OwnedFd) {
    let (near, far) = Way::Unix.connect_small().unwrap();
    set_nonblocking(&near, true).unwrap();
    (UnixStream::from_std(near.into()).unwrap(), far)
}

#[tokio::test]
async fn bytes_wait_for_a_full_sink_and_own_ones_are_not_counted() {
    let (from, feeder) = connected();
    let (to, unread) = full();
    let mut flow = Flow::new();
    flow.start_with(b"head: early".to_vec(), 6);
    let fed = feed(feeder.into(), pattern(0..LEN));
    while !flow.is_holding() {
        let stuck = timeout(Duration::from_millis(100), async {
            poll_fn(|cx| flow.poll_shutdown(cx, &from, &to)).await
        });
        assert!(stuck.await.is_err());
    }
    assert!(flow.moved() < LEN);
    let got = collect(unread);
    timeout(PATIENCE, poll_fn(|cx| flow.poll_shutdown(cx, &from, &to))).await.unwrap().unwrap();
    fed.join().unwrap().unwrap();
    assert_eq!(flow.moved(), LEN + 5);
    assert_eq!(flow.moved(), flow.moved_by(Method::Copy) + flow.moved_by(Method::Splice));
    assert!(flow.moved_by(Method::Splice) > LEN / 2, "{flow:?}");
    let got = got.join().unwrap().unwrap();
    assert_eq!(got.split_at(11).0, b"head: early");
    assert_eq!(difference(&got[11..], 0, LEN), None);
}
