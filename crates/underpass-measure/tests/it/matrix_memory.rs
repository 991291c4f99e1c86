//! What memory each call gave: a mapping of which file, or the process's own.
//!
//! The kernel is asked as the call returns, so that a mapping that is there for one call is seen,
//! and the next one at its address is not taken for it.
//!
//! Source: mmap(2); writev(2).

use std::collections::BTreeMap;

use linux_raw_sys::general as nr;
use underpass_measure::{Calls, Evidence, FileId, FileKind, Mapped, Memory, Probe, Sight};
use underpass_testkit::network::Link;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Receiving, Sending};
use underpass_testkit::skip::Capability::Root;

use crate::matrix::file_id;
use crate::matrix_peers::{Pair, patterned, program};

const LEN: u64 = 1_000_003;
const HEADER: u64 = 200;
const TIMES: u64 = 50;

/// Bytes that a process gave, by what the memory was; without its answers to the test.
fn sent(evidence: &Evidence, process: u32) -> BTreeMap<Memory, u64> {
    let is_answer = |row: &Calls| {
        let kind = row.target.map(|target| target.kind);
        row.number == nr::__NR_write && kind != Some(FileKind::Socket)
    };
    let mut sums = BTreeMap::new();
    for row in evidence.calls.iter().filter(|row| row.process == process && !is_answer(row)) {
        if row.memory != Memory::None {
            *sums.entry(row.memory).or_default() += row.bytes;
        }
    }
    sums
}

#[test]
fn each_way_shows_whose_memory_it_gave_and_heads_apart_from_bodies() {
    require!(Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(LEN));
    let load = Load { call_bytes: 65_536, header_bytes: HEADER, body_bytes: LEN, times: 3 };
    for way in Sending::ALL {
        let mut pair = Pair::start(&program, &link);
        let probe = Probe::load(Sight::Sending).unwrap();
        probe.follow(pair.sender.id()).unwrap();
        pair.connect(&link);
        pair.transfer(way, file.path(), &load, Receiving::Copy);
        pair.close();
        let (heads, bodies) = (3 * HEADER, 3 * LEN);
        let mapped = Memory::File(file_id(file.path()));
        let expected = match way {
            Sending::ReadWrite | Sending::ZeroCopy => [(Memory::Own, heads + bodies)].into(),
            Sending::Sendfile | Sending::Splice => [(Memory::Own, heads)].into(),
            Sending::MappedWrite | Sending::MappedSplice | Sending::MappedZeroCopy => {
                [(Memory::Own, heads), (mapped, bodies)].into()
            }
        };
        let evidence = probe.evidence().unwrap();
        assert_eq!(sent(&evidence, pair.sender.id()), expected, "{way}");
    }
}

#[test]
fn files_mapped_for_one_call_are_each_told_and_so_is_what_was_mapped() {
    require!(Root);
    let program = require!(program());
    let link = Link::loopback();
    let files = [patterned(LEN), patterned(70_001), patterned(17)];
    let paths = files.each_ref().map(|file| file.path());
    for is_program in [false, true] {
        let mut pair = Pair::start(&program, &link);
        let probe = Probe::load(Sight::Sending).unwrap();
        let sender = pair.sender.id();
        probe.follow(sender).unwrap();
        pair.connect(&link);
        let all = Load::whole(TIMES * (HEADER + LEN + 70_001 + 17));
        pair.receiver.begin_receiving(Receiving::Truncate, &all).unwrap();
        pair.sender.begin_gathering((HEADER, TIMES), is_program, &paths).unwrap();
        assert_eq!(pair.sender.sent().unwrap().bytes, all.body_bytes);
        pair.receiver.received().unwrap();
        pair.close();
        let evidence = probe.evidence().unwrap();
        let file = |at: usize| file_id(paths[at]);
        let expected = [
            (Memory::Own, TIMES * HEADER),
            (Memory::File(file(0)), TIMES * LEN),
            (Memory::File(file(1)), TIMES * 70_001),
            (Memory::File(file(2)), TIMES * 17),
        ];
        assert_eq!(sent(&evidence, sender), expected.into());
        let calls = evidence.calls.iter().filter(|row| row.number == nr::__NR_writev);
        assert_eq!(calls.map(|row| row.calls).sum::<u64>(), TIMES);
        let mapped = |file, bytes| Mapped {
            process: if is_program { 0 } else { sender },
            file,
            bytes,
            is_program,
            is_written: false,
        };
        for expected in [mapped(file(0), TIMES * LEN), mapped(file(1), TIMES * 70_001)] {
            assert!(evidence.mapped.contains(&expected), "{expected:?} in {:?}", evidence.mapped);
        }
    }
}

#[test]
fn as_many_pieces_as_a_call_may_have_are_all_looked_at() {
    const PIECES: u64 = 1024;
    require!(Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(PIECES));
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    let sender = pair.sender.id();
    probe.follow(sender).unwrap();
    pair.connect(&link);
    pair.receiver.begin_receiving(Receiving::Truncate, &Load::whole(PIECES)).unwrap();
    pair.sender.begin_scattering(PIECES, file.path()).unwrap();
    assert_eq!(pair.sender.sent().unwrap().bytes, PIECES);
    pair.receiver.received().unwrap();
    pair.close();
    let mapped = Memory::File(file_id(file.path()));
    let expected = [(Memory::Own, PIECES / 2), (mapped, PIECES / 2)];
    assert_eq!(sent(&probe.evidence().unwrap(), sender), expected.into());
}

/// While the process's map of memory is being changed, the kernel does not wait to tell.
#[test]
fn beside_a_thread_that_maps_all_the_time_no_memory_is_taken_for_another() {
    require!(Root);
    let program = require!(program());
    let link = Link::loopback();
    let files = [patterned(LEN), patterned(70_001)];
    let paths = files.each_ref().map(|file| file.path());
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    let sender = pair.sender.id();
    probe.follow(sender).unwrap();
    pair.connect(&link);
    pair.sender.churn().unwrap();
    let all = Load::whole(TIMES * (HEADER + LEN + 70_001));
    pair.receiver.begin_receiving(Receiving::Truncate, &all).unwrap();
    pair.sender.begin_gathering((HEADER, TIMES), false, &paths).unwrap();
    assert_eq!(pair.sender.sent().unwrap().bytes, all.body_bytes);
    pair.receiver.received().unwrap();
    pair.close();
    let mut sent = sent(&probe.evidence().unwrap(), sender);
    let unseen = sent.remove(&Memory::NotSeen).unwrap_or(0);
    // Maps are known by where they were mapped; the head is not.
    assert!(unseen <= TIMES * HEADER, "{unseen} next to {sent:?}");
    let own = sent.remove(&Memory::Own).unwrap_or(0);
    assert_eq!(own + unseen, TIMES * HEADER);
    let file = |at: usize| Memory::File(file_id(paths[at]));
    assert_eq!(sent, [(file(0), TIMES * LEN), (file(1), TIMES * 70_001)].into());
}

/// Reads of a process by their source: those before its first byte, and all.
fn reads(evidence: &Evidence, process: u32) -> BTreeMap<FileId, (u64, u64)> {
    let mut sums = BTreeMap::new();
    let reads = [nr::__NR_read, nr::__NR_pread64];
    let rows = evidence.calls.iter().filter(|row| row.process == process);
    for row in rows.filter(|row| reads.contains(&row.number)) {
        let Some(source) = row.source else { continue };
        let sum: &mut (u64, u64) = sums.entry(source).or_default();
        sum.0 += if row.before_sending { row.bytes } else { 0 };
        sum.1 += row.bytes;
    }
    sums
}

#[test]
fn what_was_read_before_the_first_byte_is_told_but_not_what_was_read_to_send_it() {
    require!(Root);
    let program = require!(program());
    let (link, file, other) = (Link::loopback(), patterned(LEN), patterned(17));
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    let sender = pair.sender.id();
    probe.follow(sender).unwrap();
    // It finds its socket in a file of /proc, and its first byte does not leave.
    pair.connect(&link);
    pair.sender.shut().unwrap();
    pair.sender.begin_gathering((HEADER, 1), false, &[other.path()]).unwrap();
    let failed = pair.sender.sent().unwrap_err().to_string();
    assert!(failed.contains("writev"), "{failed}");
    pair.close();
    pair.connect(&link);
    pair.transfer(Sending::ReadWrite, file.path(), &Load::whole(LEN), Receiving::Copy);
    pair.close();
    let before = reads(&probe.evidence().unwrap(), sender);
    assert_eq!(before[&file_id(file.path())], (0, LEN));
    let table: Vec<(u64, u64)> = before
        .iter()
        .filter(|(id, _)| id.kind == FileKind::Regular && **id != file_id(file.path()))
        .map(|(_, bytes)| *bytes)
        .collect();
    assert!(table.len() == 1 && table[0].0 > 0 && table[0].0 == table[0].1, "{table:?}");
    // And its orders, the last of which is older than its first byte.
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    let sender = pair.sender.id();
    probe.follow(sender).unwrap();
    pair.connect(&link);
    pair.transfer(Sending::Sendfile, file.path(), &Load::whole(LEN), Receiving::Copy);
    pair.connect(&link);
    let before = reads(&probe.evidence().unwrap(), sender);
    let table = before.iter().find(|(id, _)| id.kind == FileKind::Regular);
    let (_, (first, both)) = table.unwrap();
    assert!(*first > 0 && first < both, "{before:?}");
}

#[test]
fn a_question_by_udp_and_a_ring_send_nothing_and_a_request_is_not_what_was_read_to_be_sent() {
    require!(Root);
    let program = require!(program());
    let (link, first, second) = (Link::loopback(), patterned(70_001), patterned(LEN));
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    let sender = pair.sender.id();
    probe.follow(sender).unwrap();
    pair.connect(&link);
    pair.sender.be_noisy().unwrap();
    pair.sender.load(first.path()).unwrap();
    pair.sender.begin_replying(second.path()).unwrap();
    pair.receiver.begin_sending(Sending::ReadWrite, first.path(), &Load::whole(1)).unwrap();
    pair.receiver.sent().unwrap();
    pair.receiver.begin_receiving(Receiving::Copy, &Load::whole(LEN)).unwrap();
    assert_eq!(pair.sender.sent().unwrap().bytes, LEN);
    pair.receiver.received().unwrap();
    let reads = reads(&probe.evidence().unwrap(), sender);
    assert_eq!(reads[&file_id(first.path())], (70_001, 70_001));
    assert_eq!(reads[&file_id(second.path())], (0, LEN));
}

#[test]
fn threads_that_send_first_at_once_move_what_was_read_once() {
    const CHILDREN: u64 = 300;
    require!(Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(70_001));
    let mut pair = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Sending).unwrap();
    probe.follow(pair.sender.id()).unwrap();
    pair.connect(&link);
    pair.receiver.begin_receiving(Receiving::Truncate, &Load::whole(CHILDREN)).unwrap();
    pair.sender.begin_race(CHILDREN, file.path()).unwrap();
    assert_eq!(pair.sender.sent().unwrap().bytes, CHILDREN);
    pair.receiver.received().unwrap();
    let evidence = probe.evidence().unwrap();
    let children: Vec<u32> = evidence.processes.iter().map(|process| process.process).collect();
    let children = children.into_iter().filter(|process| *process != pair.sender.id());
    let (mut counted, id) = (0, file_id(file.path()));
    for child in children {
        assert_eq!(reads(&evidence, child)[&id], (0, 70_001));
        counted += 1;
    }
    assert_eq!(counted, CHILDREN);
}
