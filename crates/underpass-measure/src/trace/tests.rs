use linux_raw_sys::general as sys;

use super::account::Account;
use super::descriptors::{Connection, End};
use super::record::{Call, Event, Packet, Record};
use super::*;
use crate::evidence::{Calls, FileId, FileKind};
use crate::explain::context::FileKey;

const SERVER: u32 = 100;

fn at(time: u64, process: u32, event: Event) -> Record {
    Record { time, process, thread: process, event }
}

fn call(number: u32, returned: i64, arguments: [u64; 4]) -> Event {
    Event::Call(Call { number, returned, arguments })
}

fn entered(events: impl IntoIterator<Item = Event>) -> Account {
    let mut account = Account::default();
    for event in events {
        account.enter(&at(0, SERVER, event));
    }
    account
}

/// `socket`, `accept` as 4, and `openat` as 5.
fn connected() -> Vec<Event> {
    vec![
        call(sys::__NR_socket, 3, [2, 1 | 0o2_000_000, 0, 0]),
        call(sys::__NR_accept4, 4, [3, 0, 0, 0]),
        call(sys::__NR_openat, 5, [0, 0, 0, 0]),
    ]
}

/// Name, kind of source, kind of target, bytes.
fn rows(seen: &Seen) -> Vec<(String, Option<FileKind>, Option<FileKind>, u64)> {
    let kind = |id: Option<FileId>| id.map(|id| id.kind);
    let rows = seen.evidence.calls.iter();
    rows.map(|row| (call::name(row.number), kind(row.source), kind(row.target), row.bytes))
        .collect()
}

#[test]
fn a_sendfile_joins_what_was_opened_to_what_was_accepted() {
    let mut events = connected();
    events.push(call(sys::__NR_sendfile, 7, [4, 5, 0, 7]));
    events.push(call(sys::__NR_sendfile, -11, [4, 5, 0, 7]));
    let seen = entered(events).seen();
    let expected = ("sendfile".to_owned(), Some(FileKind::Regular), Some(FileKind::Socket), 7);
    assert_eq!(rows(&seen), [expected]);
    let row = &seen.evidence.calls[0];
    assert_eq!((row.calls, row.failures), (2, 1));
    assert_eq!(FileKey::from(row.source.unwrap()), FileKey::NOT_SEEN);
    assert_eq!(row.target.map(|id| id.inode), Some(seen.evidence.sockets[0].inode));
    assert_eq!(seen.connections, [(SERVER, 1)].into());
}

#[test]
fn a_number_that_was_closed_and_given_anew_is_another_file() {
    let mut events = connected();
    events.push(call(sys::__NR_write, 10, [4, 0x5000, 10, 0]));
    events.push(call(sys::__NR_close, 0, [4, 0, 0, 0]));
    events.push(call(sys::__NR_openat, 4, [0, 0, 0, 0]));
    events.push(call(sys::__NR_write, 1_000, [4, 0x5000, 1_000, 0]));
    events.push(call(sys::__NR_close_range, 0, [4, 9, 0, 0]));
    events.push(call(sys::__NR_write, 100_000, [4, 0x5000, 100_000, 0]));
    let seen = entered(events).seen();
    let written: Vec<_> =
        rows(&seen).into_iter().map(|(_, _, target, bytes)| (target, bytes)).collect();
    let expected =
        [(None, 100_000), (Some(FileKind::Regular), 1_000), (Some(FileKind::Socket), 10)];
    assert_eq!(written, expected);
}

#[test]
fn only_stream_sockets_of_ip_are_tcp() {
    // A Unix stream, an IPv4 datagram, an IPv6 stream.
    for (domain, kind, is_tcp) in [(1, 1, false), (2, 2, false), (10, 1, true)] {
        let seen = entered([
            call(sys::__NR_socket, 3, [domain, kind, 0, 0]),
            call(sys::__NR_write, 10, [3, 0x5000, 10, 0]),
        ])
        .seen();
        assert_eq!(seen.evidence.sockets.len(), usize::from(is_tcp), "{domain} {kind}");
    }
}

#[test]
fn duplicates_and_children_have_what_their_originals_have() {
    let mut events = connected();
    events.push(call(sys::__NR_fcntl, 7, [4, 1030, 0, 0]));
    events.push(call(sys::__NR_dup3, 8, [7, 8, 0, 0]));
    let mut account = entered(events);
    account.enter(&at(0, 101, Event::Begun { parent: SERVER }));
    account.enter(&at(0, 101, call(sys::__NR_write, 10, [8, 0x5000, 10, 0])));
    // Another program keeps what it was left, and that is looked up.
    account.enter(&at(0, 101, Event::Executed));
    account.enter(&at(0, 101, call(sys::__NR_write, 20, [8, 0x5000, 20, 0])));
    let targets: Vec<_> = rows(&account.seen()).into_iter().map(|row| (row.2, row.3)).collect();
    assert_eq!(targets, [(None, 20), (Some(FileKind::Socket), 10)]);
}

#[test]
fn splice_has_a_pipe_where_nothing_else_is_known() {
    let mut events = connected();
    events.push(call(sys::__NR_splice, 9, [5, 0, 11, 0]));
    events.push(call(sys::__NR_splice, 9, [10, 0, 4, 0]));
    let (file, pipe, socket) =
        (Some(FileKind::Regular), Some(FileKind::Pipe), Some(FileKind::Socket));
    let mut seen = rows(&entered(events).seen());
    seen.sort_by_key(|row| row.1);
    let splice = "splice".to_owned();
    assert_eq!(seen, [(splice.clone(), file, pipe, 9), (splice, pipe, socket, 9)]);
}

#[test]
fn what_is_written_to_another_pipe_is_no_part_of_what_is_spliced() {
    let mut events = connected();
    events.push(call(sys::__NR_splice, 9, [5, 0, 11, 0]));
    events.push(call(sys::__NR_splice, 9, [10, 0, 4, 0]));
    events.push(call(sys::__NR_write, 60, [1, 0x5000, 60, 0]));
    let mut account = entered(events);
    // The writing end was looked up in time and the reading end was not.
    for (number, inode) in [(1, 70), (11, 71)] {
        let descriptor = (SERVER, number);
        let end = account.descriptors.known(descriptor).unwrap();
        account.name(descriptor, end, End::Pipe(inode));
    }
    let calls = account.seen().evidence.calls;
    let of = |name: &str| calls.iter().filter(|row| call::name(row.number) == name).collect();
    let (written, spliced): (Vec<&Calls>, Vec<&Calls>) = (of("write"), of("splice"));
    let pipes: Vec<u64> = spliced
        .iter()
        .flat_map(|row| [row.source, row.target].into_iter().flatten())
        .filter(|id| id.kind == FileKind::Pipe)
        .map(|id| id.inode)
        .collect();
    assert_eq!((pipes, written[0].target.map(|id| id.inode)), (vec![0, 0], Some(70)));
}

#[test]
fn a_name_that_is_learned_later_is_that_of_the_calls_before() {
    let mut events = connected();
    events.push(call(sys::__NR_read, 9, [5, 0x5000, 9, 0]));
    let mut account = entered(events);
    let descriptor = (SERVER, 5);
    let end = account.descriptors.known(descriptor).unwrap();
    assert!(end.is_open_question());
    let file = FileId { kind: FileKind::Regular, major: 8, minor: 1, inode: 7 };
    account.name(descriptor, end, End::File(file));
    assert_eq!(account.seen().evidence.calls[0].source, Some(file));
    let questions = account.descriptors.open_questions();
    assert!(questions.iter().all(|(of, _)| *of != descriptor), "{questions:?}");
}

#[test]
fn files_that_stay_nameless_are_put_together_before_they_fill_memory() {
    let opened = |number| {
        [
            call(sys::__NR_openat, 5, [0, 0, 0, 0]),
            call(sys::__NR_read, number, [5, 0x5000, 9, 0]),
            call(sys::__NR_close, 0, [5, 0, 0, 0]),
        ]
    };
    let account = entered((1..=200_000).flat_map(opened));
    assert!(account.row_count() < 100_000, "{}", account.row_count());
    let seen = account.seen();
    // 1 + 2 + ... + 200,000.
    let read = ("read".to_owned(), Some(FileKind::Regular), None, 20_000_100_000);
    assert_eq!(rows(&seen), [read]);
}

fn packet(is_own: bool, len: u64, paged: u64) -> Event {
    Event::Packet(Packet { interface: "lo".into(), is_own, len, paged, transport_offset: 34 })
}

#[test]
fn a_packets_payload_is_in_pages_or_beside_its_headers() {
    let seen = entered([
        // An acknowledgement, and one with all options.
        packet(true, 66, 0),
        packet(true, 94, 0),
        // 1448 bytes beside 66 of headers, and 64 KiB in pages behind as many.
        packet(true, 1_514, 0),
        packet(true, 65_602, 65_536),
        // In an interrupt: whoever's.
        packet(false, 1_514, 0),
        packet(false, 65_602, 65_536),
    ])
    .seen();
    let lo = Packets {
        process: SERVER,
        interface: "lo".into(),
        paged_bytes: 65_536,
        linear_bytes: 1_448,
    };
    assert_eq!(seen.packets, [lo]);
}

#[test]
fn lists_of_processors_are_numbers_and_ranges() {
    assert_eq!(numbers("0-1,4\n"), [0, 1, 4]);
    assert_eq!(numbers("0\n"), [0]);
    assert_eq!(numbers(""), [] as [i32; 0]);
}

#[test]
fn what_is_passed_to_a_socket_with_an_upper_layer_is_apart_from_the_others() {
    let mut events = connected();
    events.push(call(sys::__NR_sendfile, 7, [4, 5, 0, 7]));
    // Another option of TCP, and one that failed.
    events.push(call(sys::__NR_setsockopt, 0, [4, 6, 1, 0]));
    events.push(call(sys::__NR_setsockopt, -2, [4, 6, 31, 0]));
    events.push(call(sys::__NR_sendfile, 20, [4, 5, 0, 20]));
    events.push(call(sys::__NR_setsockopt, 0, [4, 6, 31, 0]));
    events.push(call(sys::__NR_sendfile, 100, [4, 5, 0, 100]));
    let seen = entered(events).seen().evidence;
    let layers = seen.sockets.iter().map(|socket| {
        let sent =
            seen.calls.iter().filter(|row| row.target.is_some_and(|id| id.inode == socket.inode));
        (socket.upper_layer.as_deref(), sent.map(|row| row.bytes).sum())
    });
    assert_eq!(layers.collect::<Vec<(_, u64)>>(), [(None, 27), (Some("tls"), 100)]);
}

#[test]
fn a_connection_has_the_peer_that_proc_tells_while_it_is_open_and_the_others_have_none() {
    let mut events = connected();
    events.push(call(sys::__NR_accept4, 6, [3, 0, 0, 0]));
    events.push(call(sys::__NR_write, 10, [4, 0x5000, 10, 0]));
    events.push(call(sys::__NR_write, 500, [6, 0x5000, 500, 0]));
    let mut account = entered(events);
    let descriptor = (SERVER, 4);
    let end = account.descriptors.known(descriptor).unwrap();
    assert!(end.is_open_question());
    // A socket that is not connected any more stands in no table.
    account.name(descriptor, end, End::Socket(77));
    assert_eq!(account.descriptors.known(descriptor), Some(end));
    let (local, peer) = ("192.0.2.1:80".parse().unwrap(), "192.0.2.9:5000".parse().unwrap());
    let addresses = Some(look::Addresses { local, peer });
    let found = look::Found { end: End::Tcp(Connection::Inode(77)), addresses };
    account.name(descriptor, end, found.end);
    account.note_addresses(found);
    account.enter(&at(0, SERVER, call(sys::__NR_setsockopt, 0, [4, 6, 31, 0])));
    account.enter(&at(0, SERVER, call(sys::__NR_write, 20, [4, 0x5000, 20, 0])));
    account.enter(&at(0, SERVER, call(sys::__NR_close, 0, [4, 0, 0, 0])));
    let seen = account.seen().evidence;
    let sent = |inode| {
        let rows = seen.calls.iter().filter(|row| row.target.is_some_and(|id| id.inode == inode));
        rows.map(|row| row.bytes).sum::<u64>()
    };
    let mut sockets: Vec<_> = seen
        .sockets
        .iter()
        .map(|socket| (sent(socket.inode), socket.peer, socket.upper_layer.is_some()))
        .collect();
    sockets.sort_unstable();
    assert_eq!(sockets, [(10, Some(peer), false), (20, Some(peer), true), (500, None, false)]);
}

#[test]
fn connections_that_are_over_are_put_together_before_they_fill_memory() {
    let mut account = entered(connected());
    let peer = "192.0.2.9:5000".parse().unwrap();
    for inode in 1..=200_000 {
        account.enter(&at(0, SERVER, call(sys::__NR_accept4, 6, [3, 0, 0, 0])));
        account.enter(&at(0, SERVER, call(sys::__NR_write, 5, [6, 0x5000, 5, 0])));
        let end = account.descriptors.known((SERVER, 6)).unwrap();
        let addresses = Some(look::Addresses { local: peer, peer });
        let found = look::Found { end: End::Tcp(Connection::Inode(inode)), addresses };
        account.name((SERVER, 6), end, found.end);
        account.note_addresses(found);
        account.enter(&at(0, SERVER, call(sys::__NR_close, 0, [6, 0, 0, 0])));
    }
    assert!(account.row_count() < 100_000, "{}", account.row_count());
    assert!(account.address_count() < 100_000, "{}", account.address_count());
    let calls = account.seen().evidence.calls;
    assert_eq!(calls.iter().map(|row| row.bytes).sum::<u64>(), 1_000_000);
}

#[test]
fn processes_that_ended_are_put_together_before_they_fill_memory() {
    let mut account = entered(connected());
    for process in 1_000..101_000 {
        account.enter(&at(0, process, Event::Begun { parent: SERVER }));
        account.enter(&at(0, process, call(sys::__NR_read, 9, [5, 0x5000, 9, 0])));
        account.enter(&at(0, process, call(sys::__NR_write, 7, [4, 0x5000, 7, 0])));
        account.enter(&at(0, process, packet(true, 1_514, 0)));
        account.enter(&at(0, process, Event::Ended));
    }
    assert!(account.row_count() < 100_000, "{}", account.row_count());
    let seen = account.seen();
    let sum = |name: &str| {
        let rows = seen.evidence.calls.iter().filter(|row| call::name(row.number) == name);
        rows.map(|row| row.bytes).sum::<u64>()
    };
    assert_eq!((sum("read"), sum("write")), (900_000, 700_000));
    assert_eq!(seen.packets.iter().map(|of| of.linear_bytes).sum::<u64>(), 144_800_000);
    let of_all: Vec<_> = seen.evidence.calls.iter().filter(|row| row.process == 0).collect();
    assert_eq!(of_all.len(), 2, "a file read and a socket written to");
}

#[test]
fn a_process_has_ended_with_the_last_of_its_threads() {
    let of = |thread, event| Record { time: 0, process: SERVER, thread, event };
    let mut account = entered(connected());
    account.follow(SERVER, SERVER);
    account.enter(&of(101, Event::Begun { parent: SERVER }));
    account.enter(&of(102, Event::Begun { parent: SERVER }));
    account.enter(&of(SERVER, Event::Ended));
    assert_eq!((account.living(), account.follows(SERVER, SERVER)), ([SERVER].into(), false));
    assert!(account.descriptors.known((SERVER, 4)).is_some());
    account.enter(&of(101, Event::Ended));
    // The last of them has the number of the first when it becomes another program.
    account.enter(&of(SERVER, Event::Executed));
    assert_eq!(account.descriptors.known((SERVER, 4)), None);
    account.enter(&of(SERVER, Event::Ended));
    assert_eq!(account.living(), [].into());
}
