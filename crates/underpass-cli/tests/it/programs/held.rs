//! A client that stops reading, and a program that is held up in its call meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::io::ioctl_fionread;
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
use underpass_testkit::recorded::{Recorded, until_idle};
use underpass_testkit::{require, wait};

use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

/// More than what a socket buffers, to be asked for.
const FILE: (&str, u64) = ("huge.bin", 16 << 20);

/// More than a head, and less than the file.
const READ: usize = 1 << 20;

/// Asks for the file, with little room for what comes.
fn ask(server: SocketAddr) -> TcpStream {
    let client = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&client, 128 << 10).unwrap();
    connect(&client, &server).unwrap();
    let mut client = TcpStream::from(client);
    client.write_all(format!("GET /{} HTTP/1.0\r\n\r\n", FILE.0).as_bytes()).unwrap();
    client
}

/// The length of an answer's head.
fn head_len(answer: &[u8]) -> usize {
    answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4
}

/// Waits until no more comes that is not read, and tells how much that is.
fn held(client: &TcpStream, server: u32) -> u64 {
    let is_held = || {
        let there = ioctl_fionread(client).unwrap();
        until_idle(server).unwrap();
        (there > 0 && ioctl_fionread(client).unwrap() == there).then_some(there)
    };
    wait::until(Duration::from_secs(20), is_held).unwrap()
}

/// Watches a server until its call waits for the client.
fn watched_while_held(way: &str, call: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    std::fs::File::create(site.root().join(FILE.0)).unwrap().set_len(FILE.1).unwrap();
    site.write("server.py", include_str!("peers/server.py"));
    let mut command = recorded.command("python3");
    command.args(["../server.py", way, &address.port().to_string()]);
    let server = site.start(&mut command, address);
    let mut clients = Vec::new();
    let watched = watched(&recorded, server.id(), || {
        let (mut client, mut got) = (ask(address), vec![0; READ]);
        client.read_exact(&mut got).unwrap();
        let bytes = (READ - head_len(&got)) as u64 + held(&client, server.id());
        clients.push((client, got));
        vec![Body { file: site.name(FILE.0), bytes: Some(bytes), is_transformed: false }]
    });
    let calls = recorded.calls().unwrap();
    assert!(calls.iter().any(|it| it.name == call && it.returned.is_none()));
    for (mut client, mut got) in clients {
        client.read_to_end(&mut got).unwrap();
        let body = &got[head_len(&got)..];
        assert!(body.len() as u64 == FILE.1 && body.iter().all(|byte| *byte == 0));
    }
    watched
}

#[test]
fn what_a_call_lends_that_has_not_returned_is_by_reference() {
    require!(programs(&["python3"]));
    let watched = watched_while_held("sendfile", "sendfile");
    Expected::of("Python", "socket.sendfile, held up by its client")
        .named("python3")
        .judge(&watched);
}

#[test]
fn what_a_call_gives_that_has_not_returned_is_of_its_mapping() {
    require!(programs(&["python3"]));
    let watched = watched_while_held("kept", "sendto");
    Expected::of("Python", "mmap, kept, held up by its client")
        .named("python3")
        .because("R2", "sendfile")
        .judge(&watched);
}
