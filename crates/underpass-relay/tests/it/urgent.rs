//! Urgent bytes among others: splice(2) stops before one as if nothing were there, or no more came.
//!
//! Source: tcp(7), "Sockets API" (`MSG_OOB`, the urgent mark).

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use rustix::net::SendFlags;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::wait;

use crate::echo;
use crate::fixture::{PATIENCE, Running, accept, listener};

/// Sends bytes with an urgent one between, and the end.
fn send(mut client: &TcpStream, before: u64, all: u64) {
    client.write_all(&pattern(0..before)).unwrap();
    rustix::net::send(client, b"!", SendFlags::OOB).unwrap();
    client.write_all(&pattern(before..all)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
}

fn read_all(mut stream: &TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn an_urgent_byte_among_many_others_holds_up_nothing() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let (client, server) = (relay.connect(), accept(&target));
    thread::scope(|scope| {
        scope.spawn(|| send(&client, 4 << 20, 8 << 20));
        assert_eq!(difference(&read_all(&server), 0, 8 << 20), None);
    });
}

/// All of it is there, the end too, before the relay has a target to give it to.
#[test]
fn what_follows_an_urgent_byte_is_not_taken_for_the_end() {
    let (target, endpoint) = listener();
    // listen(2): room for one connection, which this one takes.
    rustix::net::listen(&target, 0).unwrap();
    let address = target.local_addr().unwrap();
    let first = TcpStream::connect(address).unwrap();
    let relay = Running::to(&[endpoint]);
    let client = relay.connect();
    let asking = format!("0100007F:{:04X} 02 ", address.port());
    let is_asking = || fs::read_to_string("/proc/net/tcp").unwrap().contains(&asking);
    wait::until(PATIENCE, || is_asking().then_some(())).expect("the relay connects");
    // Two looks at 16 KiB and more before the mark; all of it within the first window.
    send(&client, 33_000, 50_000);
    drop((first, target.accept().unwrap()));
    assert_eq!(difference(&read_all(&accept(&target)), 0, 50_000), None);
}

#[test]
fn an_echo_server_that_keeps_what_comes_steps_over_an_urgent_byte() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("kept");
    let endpoint = echo::start(echo::options(Some(file.clone())));
    let client = TcpStream::connect(echo::address(&endpoint)).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| send(&client, 4 << 20, 8 << 20));
        assert_eq!(difference(&read_all(&client), 0, 8 << 20), None);
    });
    assert_eq!(difference(&fs::read(&file).unwrap(), 0, 8 << 20), None);
}
