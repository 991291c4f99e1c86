//! An end stays an end and a reset a reset, whichever peer ends first; what came before arrives.
//!
//! Source: net/ipv4/tcp_input.c, `tcp_reset`; unix(7), for a socket closed with unread bytes.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::set_socket_linger;
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

fn until_relayed(relay: &Running, direction: &str, bytes: u64) {
    let series =
        |method| format!("relayed_bytes_total{{direction=\"{direction}\",method=\"{method}\"}}");
    let moved = || relay.metric(&series("splice")) + relay.metric(&series("copy"));
    wait::until(PATIENCE, || (moved() == bytes).then_some(()))
        .unwrap_or_else(|| panic!("{}", moved()));
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

/// The kernel tells of a reset once: here to the call that gives the peer a byte, while bytes of
/// the peer wait to be taken.
#[test]
fn a_reset_that_is_met_while_giving_is_not_an_end_for_what_is_taken() {
    both_ways(|mut reads_later, mut fails| {
        fails.set_nonblocking(true).unwrap();
        let mut sent = 0;
        wait::until(PATIENCE, || {
            let before = sent;
            while let Ok(n) = fails.write(&pattern(sent..sent + 65_536)) {
                sent += n as u64;
            }
            // The relay has taken what it can.
            (sent == before).then_some(())
        })
        .unwrap();
        reset(fails);
        reads_later.write_all(b"x").unwrap();
        let (got, end) = take_all(&reads_later);
        let len = got.len() as u64;
        assert_eq!((difference(&got, 0, len), end), (None, Err(ErrorKind::ConnectionReset)));
    });
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
