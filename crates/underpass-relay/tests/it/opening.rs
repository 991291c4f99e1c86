//! How connections are opened: by few calls, and patiently.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use underpass_testkit::skip::Capability::Strace as CanTrace;
use underpass_testkit::strace::{self, Strace};
use underpass_testkit::{require, test_name, wait};

use crate::fixture::{PATIENCE, Running, accept, listener, unix};

const CONNECTIONS: usize = 10;

/// A message that has not left the relay by then has no room.
const STUCK: Duration = Duration::from_millis(500);

/// One message each, one connection after the other.
fn exchange() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    for ended in 1..=CONNECTIONS + 1 {
        if ended == 2 {
            // The first one's calls are some of the relay's start.
            strace::mark();
        }
        let mut client = relay.connect();
        client.write_all(b"ping").unwrap();
        let mut server = accept(&target);
        server.read_exact(&mut [0; 4]).unwrap();
        server.write_all(b"pong").unwrap();
        client.read_exact(&mut [0; 4]).unwrap();
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        drop(server);
        relay.until("ended_total{end=\"closed\"}", ended as u64);
    }
    strace::mark();
}

/// Each call costs a few hundred connections a second.
#[test]
fn a_connection_costs_few_calls_besides_those_that_move_bytes() {
    if strace::is_inside() {
        exchange();
        return;
    }
    require!(CanTrace);
    let trace = Strace::of_test(test_name!()).unwrap().run().unwrap();
    trace.assert_success();
    // Only the worker connects without waiting.
    let mut all = trace.marked().iter();
    let worker = all.find(|call| call.errno.as_deref() == Some("EINPROGRESS")).unwrap().thread;
    let calls: Vec<_> =
        trace.marked().iter().filter(|call| call.thread == worker).cloned().collect();
    for (name, each) in [
        ("socket", 1),
        ("setsockopt", 1),
        ("connect", 2),
        ("sendto", 2),
        ("epoll_ctl", 4),
        ("shutdown", 1),
        ("close", 2),
        ("getsockopt", 0),
        ("getpeername", 0),
        ("getsockname", 0),
        // To an eventfd of tokio's: a timer that comes before all others.
        ("write", 0),
        ("pipe2", 0),
    ] {
        assert_eq!(strace::count(&calls, name), each * CONNECTIONS, "{name}");
    }
}

#[test]
fn a_target_that_is_slow_to_accept_gets_everything_from_the_start() {
    let (target, endpoint) = listener();
    // listen(2): room for one connection, which this one takes.
    rustix::net::listen(&target, 0).unwrap();
    let address = target.local_addr().unwrap();
    let first = TcpStream::connect(address).unwrap();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    client.write_all(b"early").unwrap();
    let asking = format!("0100007F:{:04X} 02 ", address.port());
    let is_asking = || fs::read_to_string("/proc/net/tcp").unwrap().contains(&asking);
    wait::until(PATIENCE, || is_asking().then_some(())).expect("the relay connects");
    drop((first, target.accept().unwrap()));
    let mut server = accept(&target);
    let mut got = [0; 5];
    server.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"early");
    server.write_all(b"late").unwrap();
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "late");
}

/// A connection to a target at a path that is gone again.
fn through_a_unix_target() -> (Running, TcpStream, UnixStream) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("target");
    let target = UnixListener::bind(&path).unwrap();
    let relay = Running::to(&[unix(&path)]);
    let client = relay.connect();
    let (server, _) = target.accept().unwrap();
    (relay, client, server)
}

/// What the relay holds when the target ends was taken from the client and given to no one.
#[test]
fn bytes_that_the_target_never_got_are_not_counted() {
    let (relay, mut client, mut server) = through_a_unix_target();
    let counted = || relay.metric("relayed_bytes_total{direction=\"up\",method=\"copy\"}");
    // One message at a time, until one is not delivered.
    let mut sent = 0;
    let is_taken = |sent| wait::until(STUCK, || (counted() == sent).then_some(())).is_some();
    while is_taken(sent) && sent < 1 << 20 {
        client.write_all(&[0; 64]).unwrap();
        sent += 64;
    }
    server.shutdown(Shutdown::Read).unwrap();
    let mut got = Vec::new();
    server.read_to_end(&mut got).unwrap();
    drop(server);
    relay.until("ended_total{end=\"target-failed\"}", 1);
    assert_eq!(counted(), got.len() as u64);
}

/// Closing the client's socket with bytes unread would reset it.
#[test]
fn a_client_whose_bytes_nobody_takes_gets_the_answer_and_its_end() {
    let (relay, mut client, mut server) = through_a_unix_target();
    client.set_nonblocking(true).unwrap();
    while client.write(&[0; 1 << 16]).is_ok() {}
    client.set_nonblocking(false).unwrap();
    server.shutdown(Shutdown::Read).unwrap();
    // What is unread when it is closed would make a reset of its end.
    server.read_to_end(&mut Vec::new()).unwrap();
    server.write_all(b"refused").unwrap();
    drop(server);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "refused");
    relay.until("ended_total{end=\"target-failed\"}", 1);
}
