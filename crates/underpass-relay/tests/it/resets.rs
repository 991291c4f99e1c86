//! An end stays an end and a reset a reset, whichever peer ends first; what came before arrives.
//!
//! Source: net/ipv4/tcp_input.c, `tcp_reset`; unix(7), for a socket closed with unread bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_linger;
use underpass::unacknowledged;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::wait;

use crate::fixture::{PATIENCE, Running, accept, listener, options, unix};

/// More than a receiver that does not read has room for, less than it has with the relay's.
const LEN: u64 = 400_001;

fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// What comes, and whether the stream ends (`Ok`) or is reset.
fn take_all(mut stream: &TcpStream) -> (Vec<u8>, Result<(), ErrorKind>) {
    let mut got = Vec::new();
    let end = stream.read_to_end(&mut got).map(drop).map_err(|error| error.kind());
    (got, end)
}

/// Waits for a reset without sending anything, which would bring one.
fn wait_for_reset(stream: &TcpStream) {
    let mut events = [PollFd::new(stream, PollFlags::empty())];
    poll(&mut events, Some(&PATIENCE.try_into().unwrap())).unwrap();
    assert!(events[0].revents().contains(PollFlags::ERR), "{:?}", events[0].revents());
}

/// Bytes that the relay has given to a peer.
fn relayed(relay: &Running, direction: &str) -> u64 {
    let by = |method| {
        relay.metric(&format!(
            "relayed_bytes_total{{direction=\"{direction}\",method=\"{method}\"}}"
        ))
    };
    by("splice") + by("copy")
}

fn until_relayed(relay: &Running, direction: &str, bytes: u64) {
    wait::until(PATIENCE, || (relayed(relay, direction) == bytes).then_some(())).unwrap();
}

/// Sends until the relay has taken what it can for a receiver that takes nothing.
fn fill(stream: &mut TcpStream) -> u64 {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    wait::until(PATIENCE, || {
        let before = sent;
        while let Ok(n) = stream.write(&pattern(sent..sent + 65_536)) {
            sent += n as u64;
        }
        (sent == before).then_some(())
    })
    .unwrap();
    stream.set_nonblocking(false).unwrap();
    sent
}

/// A client and its server, and the same the other way round: what holds for one holds for both.
fn both_ways(check: impl Fn(TcpStream, TcpStream)) {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let (client, server) = (relay.connect(), accept(&target));
    check(client, server);
    let (client, server) = (relay.connect(), accept(&target));
    check(server, client);
    relay.until("open", 0);
    relay.until("ended_total{end=\"client-failed\"}", 1);
    relay.until("ended_total{end=\"target-failed\"}", 1);
}

#[test]
fn a_peer_that_is_reset_after_the_other_ended_is_a_reset_for_the_other() {
    both_ways(|ended, mut fails| {
        ended.shutdown(Shutdown::Write).unwrap();
        assert_eq!(take_all(&fails), (Vec::new(), Ok(())));
        fails.write_all(b"half of it").unwrap();
        (&ended).read_exact(&mut [0; 10]).unwrap();
        reset(fails);
        assert_eq!(take_all(&ended), (Vec::new(), Err(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_peer_that_is_reset_after_its_own_end_is_a_reset_for_the_other_at_once() {
    both_ways(|fails, other| {
        fails.shutdown(Shutdown::Write).unwrap();
        assert_eq!(take_all(&other), (Vec::new(), Ok(())));
        reset(fails);
        wait_for_reset(&other);
    });
}

#[test]
fn what_came_before_a_reset_arrives_before_it() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let (client, mut server) = (relay.connect(), accept(&target));
    server.write_all(&pattern(0..LEN)).unwrap();
    until_relayed(&relay, "down", LEN);
    reset(server);
    let (got, end) = take_all(&client);
    assert_eq!((difference(&got, 0, LEN), end), (None, Err(ErrorKind::ConnectionReset)));
    let (mut client, server) = (relay.connect(), accept(&target));
    client.write_all(&pattern(0..LEN)).unwrap();
    until_relayed(&relay, "up", LEN);
    reset(client);
    let (got, end) = take_all(&server);
    assert_eq!((difference(&got, 0, LEN), end), (None, Err(ErrorKind::ConnectionReset)));
    relay.until("open", 0);
}

#[test]
fn a_peer_that_takes_nothing_of_what_came_before_a_reset_is_reset_in_the_end() {
    let (target, endpoint) = listener();
    let mut wanted = options(&[endpoint]);
    wanted.idle_timeout = Some(Duration::from_secs(2));
    let relay = Running::start(wanted);
    let (client, mut server) = (relay.connect(), accept(&target));
    server.write_all(&pattern(0..LEN)).unwrap();
    until_relayed(&relay, "down", LEN);
    reset(server);
    relay.until("ended_total{end=\"target-failed\"}", 1);
    assert_eq!(take_all(&client).1, Err(ErrorKind::ConnectionReset));
}

/// The kernel tells of a reset once: here to the call that gives the peer a byte, while bytes of
/// the peer wait to be taken.
#[test]
fn a_reset_that_is_met_while_giving_is_not_an_end_for_what_is_taken() {
    both_ways(|mut reads_later, mut fails| {
        fill(&mut fails);
        reset(fails);
        reads_later.write_all(b"x").unwrap();
        let (got, end) = take_all(&reads_later);
        let len = got.len() as u64;
        assert_eq!((difference(&got, 0, len), end), (None, Err(ErrorKind::ConnectionReset)));
    });
}

#[test]
fn a_reset_after_an_end_that_is_met_while_giving_leaves_the_end_an_end() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let (mut client, mut server) = (relay.connect(), accept(&target));
    let sent = fill(&mut server);
    server.shutdown(Shutdown::Write).unwrap();
    let mut got = Vec::new();
    while unacknowledged(&server).unwrap() > 0 {
        let mut piece = [0; 4096];
        let n = client.read(&mut piece).unwrap();
        got.extend_from_slice(&piece[..n]);
    }
    assert!(relayed(&relay, "down") < sent, "the relay has passed on everything");
    reset(server);
    client.write_all(b"x").unwrap();
    let (rest, end) = take_all(&client);
    got.extend_from_slice(&rest);
    assert_eq!((difference(&got, 0, sent), end), (None, Ok(())));
    relay.until("ended_total{end=\"target-failed\"}", 1);
}

/// As servers do with an upload that they refuse.
#[test]
fn an_answer_arrives_whole_although_its_sender_takes_no_more() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let (mut client, mut server) = (relay.connect(), accept(&target));
    client.set_nonblocking(true).unwrap();
    while client.write(&[b'!'; 65_536]).is_ok() {}
    client.set_nonblocking(false).unwrap();
    server.write_all(&pattern(0..LEN)).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    until_relayed(&relay, "down", LEN);
    // With bytes that it has not read, which makes a reset of it.
    drop(server);
    let (got, end) = take_all(&client);
    assert_eq!((difference(&got, 0, LEN), end), (None, Ok(())));
    wait_for_reset(&client);
    relay.until("ended_total{end=\"target-failed\"}", 1);
}

#[test]
fn a_unix_peer_that_leaves_bytes_unread_is_a_reset_after_what_it_sent() {
    let dir = tempfile::tempdir().unwrap();
    let target = UnixListener::bind(dir.path().join("s")).unwrap();
    let relay = Running::start(options(&[unix(&dir.path().join("s"))]));
    let mut client = relay.connect();
    client.write_all(b"unread").unwrap();
    let (mut server, _) = target.accept().unwrap();
    until_relayed(&relay, "up", 6);
    server.write_all(&pattern(0..LEN)).unwrap();
    drop(server);
    let (got, end) = take_all(&client);
    assert_eq!((difference(&got, 0, LEN), end), (None, Err(ErrorKind::ConnectionReset)));
    relay.until("ended_total{end=\"target-failed\"}", 1);
}
