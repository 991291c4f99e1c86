//! Idle connections: parked as bare sockets, and taken up where they were left.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use underpass_testkit::wait;

use crate::fixture::Fixture;

const PATIENCE: Duration = Duration::from_secs(20);

const CROWD: usize = 400;

const REQUEST: &[u8] = b"GET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n";

fn read_digits(peer: &mut TcpStream) {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n0123456789") {
        let mut more = [0; 1_024];
        let n = peer.read(&mut more).unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&more[..n]);
    }
}

/// A server, and idle connections.
fn crowd() -> (Fixture, Vec<TcpStream>) {
    let server = Fixture::alone();
    let crowd = (0..CROWD).map(|_| server.connect()).collect();
    (server, crowd)
}

fn wait_until_parked(server: &Fixture, count: usize) {
    let is_parked = || (server.metric("parked") == count as u64).then_some(());
    wait::until(PATIENCE, is_parked)
        .unwrap_or_else(|| panic!("{} parked", server.metric("parked")));
}

#[test]
fn a_parked_connection_answers_again_and_again() {
    let (server, mut crowd) = crowd();
    for _ in 0..3 {
        wait_until_parked(&server, CROWD);
        for peer in &mut crowd {
            peer.write_all(REQUEST).unwrap();
            read_digits(peer);
        }
    }
}

#[test]
fn a_head_that_comes_in_pieces_is_not_lost_between_two_requests() {
    let (server, mut crowd) = crowd();
    for at in [1, 10, REQUEST.len() - 1] {
        // One whole request and part of the next, in one segment; then the rest of it.
        let one_and_a_part = [REQUEST, &REQUEST[..at]].concat();
        for peer in &mut crowd {
            peer.write_all(&one_and_a_part).unwrap();
            read_digits(peer);
        }
        // A connection with part of a head is in hyper's hands.
        assert_eq!(server.metric("parked"), 0);
        for peer in &mut crowd {
            peer.write_all(&REQUEST[at..]).unwrap();
            read_digits(peer);
        }
    }
    wait_until_parked(&server, CROWD);
}

#[test]
fn the_content_of_a_request_is_not_taken_for_a_request_and_the_connection_is_kept() {
    let (server, mut crowd) = crowd();
    for peer in crowd.iter_mut().take(40) {
        peer.set_nodelay(true).unwrap();
        let smuggled = REQUEST.len();
        let head =
            format!("GET /digits.txt HTTP/1.1\r\nHost: x\r\nContent-Length: {smuggled}\r\n\r\n");
        peer.write_all(head.as_bytes()).unwrap();
        read_digits(peer);
        // A connection with content to come is in hyper's hands.
        peer.write_all(&[REQUEST, b"HEAD /none HTTP/1.1\r\nHost: x\r\n\r\n"].concat()).unwrap();
        let mut answer = [0; 12];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"HTTP/1.1 404");
    }
    wait_until_parked(&server, CROWD);
}

#[test]
fn clients_that_wait_get_the_places_of_those_that_were_served_a_moment_ago() {
    const CLIENTS: usize = 100;
    let server = Fixture::small(4);
    let begin = Instant::now();
    let mut peers: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
    for peer in &mut peers {
        peer.write_all(REQUEST).unwrap();
    }
    peers.iter_mut().for_each(read_digits);
    // To look at a few of them once a second would take 25 s and more.
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}
