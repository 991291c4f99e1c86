//! How connections end: resets, timeouts, limits.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

use crate::fixture::{Running, accept, listener, options};

fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

fn kind_of_end(mut stream: TcpStream) -> Result<(), ErrorKind> {
    match stream.read(&mut [0; 16]) {
        Ok(0) => Ok(()),
        Ok(n) => panic!("{n} bytes came"),
        Err(error) => Err(error.kind()),
    }
}

#[test]
fn a_reset_of_one_peer_is_a_reset_for_the_other() {
    let (target, endpoint) = listener();
    let relay = Running::to(std::slice::from_ref(&endpoint));
    let (client, server) = (relay.connect(), accept(&target));
    reset(client);
    assert_eq!(kind_of_end(server), Err(ErrorKind::ConnectionReset));
    relay.until("ended_total{end=\"client-failed\"}", 1);
    let (mut client, mut server) = (relay.connect(), accept(&target));
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    reset(server);
    assert_eq!(kind_of_end(client), Err(ErrorKind::ConnectionReset));
    relay.until("ended_total{end=\"target-failed\"}", 1);
    relay.until(&format!("target_failures_total{{target=\"{endpoint}\",reason=\"reset\"}}"), 1);
    relay.until("open", 0);
}

/// A server that answers early and closes, as HTTP servers do with uploads they refuse.
#[test]
fn an_answer_arrives_although_the_server_takes_no_more() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let (mut client, mut server) = (relay.connect(), accept(&target));
    client.write_all(b"one").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    server.write_all(b"refused").unwrap();
    drop(server);
    let mut answer = [0; 7];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"refused");
}

#[test]
fn a_connection_on_which_nothing_moves_is_cut_and_one_that_moves_is_not() {
    let (target, endpoint) = listener();
    let limit = Duration::from_secs(1);
    let mut wanted = options(&[endpoint]);
    wanted.idle_timeout = Some(limit);
    let relay = Running::start(wanted);
    let (mut client, mut server) = (relay.connect(), accept(&target));
    let start = Instant::now();
    while start.elapsed() < 2 * limit {
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        std::thread::park_timeout(limit / 20);
    }
    assert_eq!(kind_of_end(client), Err(ErrorKind::ConnectionReset));
    assert_eq!(kind_of_end(server), Err(ErrorKind::ConnectionReset));
    relay.until("ended_total{end=\"idle\"}", 1);
    assert!(start.elapsed() >= 3 * limit - limit / 10, "{:?}", start.elapsed());
}

#[test]
fn no_more_are_open_than_may_be_and_the_rest_wait_their_turn() {
    let (target, endpoint) = listener();
    let mut wanted = options(&[endpoint]);
    wanted.daemon.connections_max = NonZeroUsize::new(1);
    wanted.daemon.workers = NonZeroUsize::new(2).unwrap();
    let relay = Running::start(wanted);
    let mut waiting: Vec<TcpStream> = Vec::new();
    let mut first = relay.connect();
    let mut server = accept(&target);
    for _ in 0..5 {
        let mut client = relay.connect();
        client.write_all(b"turn").unwrap();
        waiting.push(client);
    }
    first.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    assert_eq!((relay.metric("open"), relay.metric("accepted_total")), (1, 1));
    drop((first, server));
    for served in 2..=6 {
        let mut server = accept(&target);
        server.read_exact(&mut [0; 4]).unwrap();
        relay.until("open", 1);
        assert_eq!(relay.metric("accepted_total"), served);
        // Whichever of them it is.
        reset(server);
    }
    relay.until("open", 0);
}

#[test]
fn a_target_that_never_answers_is_given_up() {
    // TEST-NET-1 is routed nowhere; where the machine says so at once, that is a failure too.
    let mut wanted = options(&["192.0.2.1:9".parse().unwrap()]);
    wanted.connect_timeout = Duration::from_millis(100);
    let relay = Running::start(wanted);
    assert_eq!(kind_of_end(relay.connect()), Err(ErrorKind::ConnectionReset));
    relay.until("ended_total{end=\"no-target\"}", 1);
}
