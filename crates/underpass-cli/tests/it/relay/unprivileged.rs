//! A relay of a user whose pipes are limited: more are busy than the limit has room for.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Signal;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::skip::Capability::{Program, Root};
use underpass_testkit::{require, wait};

use super::{PATIENCE, accept, connect, listener};
use crate::running::{Running, as_nobody, for_everybody};

/// More than pipe-user-pages-soft has room for, which by default is 64 pipes of 1 MiB.
const CONNECTIONS: u64 = 100;

/// More than all buffers on the way hold.
const LEN: u64 = 6_291_457;

/// The value of a series of the metrics at this address.
fn metric(address: &str, series: &str) -> u64 {
    let mut scraper = TcpStream::connect(address).unwrap();
    scraper.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    scraper.read_to_string(&mut answer).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in {answer}")).parse().unwrap()
}

fn send(mut client: TcpStream, start: u64) {
    let end = start + LEN;
    for at in (start..end).step_by(1 << 16) {
        client.write_all(&pattern(at..end.min(at + (1 << 16)))).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn past_the_limit_on_a_user_s_pipes_every_byte_still_arrives_and_it_says_so_once() {
    require!(Root);
    require!(Program("setpriv"));
    let limit = std::fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft").unwrap();
    let limit: u64 = limit.trim().parse().unwrap();
    assert!(limit / 256 < CONNECTIONS, "{limit} pages: too many for this test");
    let (_dir, path) = for_everybody();
    let (target, address) = listener();
    set_socket_recv_buffer_size(&target, 1 << 16).unwrap();
    let mut command = as_nobody(&[], &path);
    command.args(["relay", "0", &address, "--workers", "1", "--metrics", "0", "--log", "-"]);
    let mut relay = Running::start(command.stdout(std::process::Stdio::piped()));
    let line = relay.next_line();
    let metrics = line.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_owned();
    let pipes =
        |size: &str| metric(&metrics, &format!("underpass_relay_pipes_total{{size=\"{size}\"}}"));
    std::thread::scope(|scope| {
        let mut servers = Vec::new();
        for start in 0..CONNECTIONS {
            let client = connect(&relay);
            servers.push(accept(&target));
            scope.spawn(move || send(client, start));
        }
        // Nothing is read yet, so each connection wants a pipe to keep.
        wait::until(PATIENCE, || (pipes("refused") > 0).then_some(())).expect("a pipe is refused");
        assert!(pipes("full") > 0);
        for (mut server, start) in servers.into_iter().zip(0..) {
            let mut got = Vec::new();
            server.read_to_end(&mut got).unwrap();
            assert_eq!(difference(&got, start, LEN), None, "connection {start}");
        }
    });
    relay.signal(Signal::TERM);
    let (code, stdout, stderr) = relay.end_of_text();
    assert_eq!(code, Some(0));
    assert_eq!(stdout.matches(" end=closed ").count() as u64, CONNECTIONS, "{stdout}");
    let told: Vec<&str> =
        stderr.lines().filter(|line| line.contains("pipes of 1024 KiB")).collect();
    assert_eq!(told.len(), 1, "{stderr}");
    assert!(told[0].contains("fs.pipe-user-pages-soft"), "{stderr}");
}
