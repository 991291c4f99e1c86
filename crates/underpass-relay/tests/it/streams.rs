//! Bytes both ways, half-closed connections, back-pressure: between sockets of the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use underpass_testkit::payload::{difference, pattern};

use crate::fixture::{Running, accept, connect_unix, listener, options, unix};

/// More than all buffers on the way hold, and no multiple of anything.
const LEN: u64 = 33_554_433;

fn read_all(mut stream: impl Read) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn both_directions_carry_different_bytes_at_the_same_time() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let server = accept(&target);
    let (up, down) = (pattern(0..LEN), pattern(7..LEN + 7));
    thread::scope(|scope| {
        scope.spawn(|| {
            (&server).write_all(&down).unwrap();
            server.shutdown(Shutdown::Write).unwrap();
        });
        let mut sender = client.try_clone().unwrap();
        scope.spawn(move || {
            sender.write_all(&up).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        let got = scope.spawn(|| read_all(&server));
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert_eq!(difference(&received, 7, LEN), None);
        assert_eq!(difference(&got.join().unwrap(), 0, LEN), None);
    });
    relay.until("ended_total{end=\"closed\"}", 1);
    for direction in ["up", "down"] {
        let series = |method: &str| {
            format!("relayed_bytes_total{{direction=\"{direction}\",method=\"{method}\"}}")
        };
        let (spliced, copied) = (relay.metric(&series("splice")), relay.metric(&series("copy")));
        assert_eq!(spliced + copied, LEN, "{direction}");
        assert!(spliced > LEN / 2, "{direction}: {spliced} by splice");
    }
}

#[test]
fn a_client_that_has_sent_everything_still_gets_its_answer() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let mut server = accept(&target);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&server), b"question");
    server.write_all(b"answer").unwrap();
    drop(server);
    assert_eq!(read_all(&client), b"answer");
    relay.until("ended_total{end=\"closed\"}", 1);
    relay.until("open", 0);
}

#[test]
fn a_target_that_has_sent_everything_still_gets_what_comes() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let server = accept(&target);
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), b"");
    client.write_all(b"late").unwrap();
    drop(client);
    assert_eq!(read_all(&server), b"late");
    relay.until("ended_total{end=\"closed\"}", 1);
}

#[test]
fn small_messages_go_to_and_fro_without_waiting_for_more() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let mut server = accept(&target);
    for i in 0..=255_u8 {
        let message = [i; 64];
        let mut got = [0; 64];
        client.write_all(&message).unwrap();
        server.read_exact(&mut got).unwrap();
        assert_eq!(got, message);
        server.write_all(&got).unwrap();
        client.read_exact(&mut got).unwrap();
        assert_eq!(got, message);
    }
    drop((client, server));
    relay.until("ended_total{end=\"closed\"}", 1);
    let spliced = relay.metric("relayed_bytes_total{direction=\"up\",method=\"splice\"}");
    assert_eq!(spliced, 0);
}

/// Every length around those at which the way of moving changes.
#[test]
fn messages_of_every_size_arrive_whole_in_bursts() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let mut server = accept(&target);
    let mut start = 0;
    for len in [1, 16_383, 16_384, 16_385, 65_536, 65_537, 1_048_576, 1_048_577, 3, 40_000, 16_384]
    {
        let message = pattern(start..start + len);
        let mut sender = client.try_clone().unwrap();
        let sending = thread::spawn(move || sender.write_all(&message).unwrap());
        let mut got = vec![0; usize::try_from(len).unwrap()];
        server.read_exact(&mut got).unwrap();
        sending.join().unwrap();
        assert_eq!(difference(&got, start, len), None, "{len}");
        start += len;
    }
    client.flush().unwrap();
}

/// Writes until nothing more is taken; gives the bytes that were.
fn fill(stream: &mut TcpStream) -> u64 {
    stream.set_nonblocking(true).unwrap();
    let (mut sent, mut refused) = (0, 0);
    // The relay moves on while this writes, so one refusal is not the end.
    while refused < 50 {
        match stream.write(&pattern(sent..sent + 65_536)) {
            Ok(n) => (sent, refused) = (sent + n as u64, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                thread::park_timeout(std::time::Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

#[test]
fn a_receiver_that_takes_nothing_stops_the_sender_and_loses_nothing() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    let mut client = relay.connect();
    let mut server = accept(&target);
    let sent = fill(&mut client);
    // The buffers of four sockets and a pipe, however large the kernel makes them.
    assert!(sent < 64 << 20, "{sent} bytes were taken for a receiver that takes none");
    // Meanwhile others are served, and the other direction too.
    server.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let (mut other, mut other_server) = (relay.connect(), accept(&target));
    other.write_all(b"y").unwrap();
    other_server.read_exact(&mut [0]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(difference(&read_all(&server), 0, sent), None);
}

/// A connection that ends with bytes in its pipe must leave them to no other.
#[test]
fn bytes_of_a_connection_that_broke_reach_no_other() {
    let (target, endpoint) = listener();
    let relay = Running::to(&[endpoint]);
    for _ in 0..40 {
        let mut client = relay.connect();
        let server = accept(&target);
        client.set_nonblocking(true).unwrap();
        while client.write(&[b'!'; 65_536]).is_ok() {}
        drop(client);
        drop(server);
        let (mut client, server) = (relay.connect(), accept(&target));
        let clean = pattern(0..3_000_001);
        let sending = thread::spawn(move || client.write_all(&clean).unwrap());
        assert_eq!(difference(&read_all(&server), 0, 3_000_001), None);
        sending.join().unwrap();
    }
}

#[test]
fn unix_sockets_are_relayed_at_both_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (listen, path) = (dir.path().join("listen"), dir.path().join("target"));
    let target = UnixListener::bind(&path).unwrap();
    let mut wanted = options(&[unix(&path)]);
    wanted.daemon.listen = vec![unix(&listen)];
    let relay = Running::start(wanted);
    let client = connect_unix(&listen);
    let (mut server, _) = target.accept().unwrap();
    let mut sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || {
        sender.write_all(&pattern(0..LEN)).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(difference(&read_all(&server), 0, LEN), None);
    sending.join().unwrap();
    server.write_all(b"answer").unwrap();
    drop(server);
    assert_eq!(read_all(&client), b"answer");
    relay.until("ended_total{end=\"closed\"}", 1);
}
