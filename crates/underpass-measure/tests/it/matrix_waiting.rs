//! Who is known to use a socket though no call of theirs has returned.
//!
//! Source: proc_pid_syscall(5); io_uring(7).

use std::time::Duration;

use linux_raw_sys::general as nr;
use underpass_measure::{Calls, Evidence, Memory, Probe, Sight};
use underpass_testkit::network::Link;
use underpass_testkit::senders::{Load, Receiving, Sending};
use underpass_testkit::skip::Capability::{Root, Uring};
use underpass_testkit::{require, wait};

use crate::matrix::{all_that_left, file_id, socket_of};
use crate::matrix_peers::{Pair, patterned, program};

/// More than the buffers of a socket, whose other end does not read.
const LEN: u64 = 12_000_017;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_call_that_waits_is_told_with_its_socket_its_file_and_its_memory() {
    require!(Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(LEN));
    let id = file_id(file.path());
    for (way, number, source, memory) in [
        (Sending::Sendfile, nr::__NR_sendfile, Some(id), Memory::None),
        (Sending::MappedWrite, nr::__NR_write, None, Memory::File(id)),
        (Sending::ReadWrite, nr::__NR_write, None, Memory::Own),
    ] {
        let mut pair = Pair::start(&program, &link);
        let (socket, _) = pair.connect(&link);
        let probe = Probe::load(Sight::Sending).unwrap();
        let sender = pair.sender.id();
        probe.follow(sender).unwrap();
        let load = Load { call_bytes: LEN, ..Load::whole(LEN) };
        pair.sender.begin_sending(way, file.path(), &load).unwrap();
        let to_socket = |row: &&Calls| row.target.is_some_and(|target| target.inode == socket);
        let waiting = |evidence: &Evidence| evidence.under_way.iter().find(to_socket).cloned();
        let seen = wait::until(PATIENCE, || waiting(&probe.evidence().unwrap()));
        let row = seen.unwrap();
        let expected = Calls { process: sender, number, source, memory, ..Calls::default() };
        assert_eq!(Calls { target: None, ..row }, expected, "{way}");
        let evidence = probe.evidence().unwrap();
        assert_eq!(socket_of(&evidence, socket).process, sender, "{way}");
        assert!(!evidence.calls.iter().any(|row| to_socket(&row)), "{way}");
        pair.receiver.begin_receiving(Receiving::Copy, &load).unwrap();
        pair.sender.sent().unwrap();
        pair.receiver.received().unwrap();
        let evidence = probe.evidence().unwrap();
        assert_eq!(waiting(&evidence), None, "{way}");
        assert_eq!(all_that_left(&evidence).values().sum::<u64>(), LEN, "{way}");
    }
}

#[test]
fn a_socket_that_only_a_ring_uses_is_that_of_who_has_both() {
    require!(Root);
    require!(Uring);
    let program = require!(program());
    let link = Link::loopback();
    let (mut pair, mut stranger) = (Pair::start(&program, &link), Pair::start(&program, &link));
    let (socket, _) = pair.connect(&link);
    stranger.connect(&link);
    let probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(pair.sender.id()).unwrap();
    for (pair, bytes) in [(&mut stranger, LEN + 1), (&mut pair, LEN)] {
        pair.receiver.begin_receiving(Receiving::Truncate, &Load::whole(bytes)).unwrap();
        pair.sender.begin_ring(bytes).unwrap();
        assert_eq!(pair.sender.sent().unwrap().bytes, bytes);
        pair.receiver.received().unwrap();
        let evidence = probe.evidence().unwrap();
        let left = all_that_left(&evidence).values().sum::<u64>();
        assert_eq!(left, if bytes == LEN { LEN } else { 0 });
    }
    pair.close();
    let evidence = probe.evidence().unwrap();
    assert_eq!(socket_of(&evidence, socket).process, pair.sender.id());
}
