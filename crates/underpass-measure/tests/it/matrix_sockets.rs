//! Whose bytes are whose: sockets that are shared, open before the watch, or at an address that
//! another socket had before.
//!
//! Bytes are told by the socket they left through, and a socket is known by its address in the
//! kernel, which is given out again: a stranger's bytes must not be charged to it.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::Path;

use underpass_measure::{Evidence, Lent, Origin, Probe, Sight};
use underpass_testkit::compiled::Program;
use underpass_testkit::network::Link;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Peer, Receiving, Sending};
use underpass_testkit::skip::{Capability, Missing};

use crate::matrix::{
    ByOrigin, ByPage, all_that_left, by_origin, by_page, file_id, page_cache, socket_of,
};
use crate::matrix_peers::{Pair, patterned, program};

const FIRST: u64 = 3_000_017;
const SECOND: u64 = 2_000_003;

/// Bytes that a process gave to a socket by calls.
fn given(evidence: &Evidence, process: u32, socket: u64) -> u64 {
    let calls = evidence.calls.iter().filter(|call| call.process == process);
    let calls = calls.filter(|call| call.target.is_some_and(|target| target.inode == socket));
    calls.map(|call| call.bytes).sum()
}

#[test]
fn a_socket_that_was_open_before_it_was_followed_is_counted_from_then_on() {
    require!(Capability::Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(FIRST));
    for way in Sending::ALL {
        let mut pair = Pair::start(&program, &link);
        let (socket, _) = pair.connect(&link);
        pair.transfer(Sending::ReadWrite, file.path(), &Load::whole(SECOND), Receiving::Copy);
        let probe = Probe::load(Sight::Everything).unwrap();
        probe.follow(pair.sender.id()).unwrap();
        pair.transfer(way, file.path(), &Load::whole(FIRST), Receiving::Copy);
        pair.close();
        let evidence = probe.evidence().unwrap();
        let sent = by_page(&socket_of(&evidence, socket).sent);
        let total: u64 = sent.values().sum();
        assert_eq!((total, sent.len()), (FIRST, 1), "{way}: {sent:?}");
    }
}

/// Two senders on one connection, and its receiver.
struct Shared {
    first: Peer,
    second: Peer,
    receiver: Peer,
    socket: u64,
}

impl Shared {
    fn connect(program: &Program) -> Self {
        let link = Link::loopback();
        let mut receiver = Peer::start(program, link.far()).unwrap();
        let address = receiver.listen(link.far()).unwrap();
        let socket = OwnedFd::from(TcpStream::connect(address).unwrap());
        let other = socket.try_clone().unwrap();
        receiver.accept().unwrap();
        let (first, connection) = Peer::share(program, socket).unwrap();
        let (second, same) = Peer::share(program, other).unwrap();
        assert_eq!(connection.inode, same.inode);
        Self { first, second, receiver, socket: connection.inode }
    }

    /// The first by sendfile, the second by read and write, at once; but the first begins, and
    /// so makes the socket one that is watched.
    fn transfer(&mut self, file: &Path) {
        let all = Load::whole(FIRST + SECOND);
        self.receiver.begin_receiving(Receiving::Truncate, &all).unwrap();
        self.first.begin_sending(Sending::Sendfile, file, &Load::whole(100)).unwrap();
        assert_eq!(self.first.sent().unwrap().bytes, 100);
        self.first.begin_sending(Sending::Sendfile, file, &Load::whole(FIRST - 100)).unwrap();
        self.second.begin_sending(Sending::ReadWrite, file, &Load::whole(SECOND)).unwrap();
        assert_eq!(self.first.sent().unwrap().bytes, FIRST - 100);
        assert_eq!(self.second.sent().unwrap().bytes, SECOND);
        assert_eq!(self.receiver.received().unwrap(), FIRST + SECOND);
        self.first.close().unwrap();
        self.second.close().unwrap();
    }
}

#[test]
fn two_processes_on_one_socket_are_told_apart_by_their_calls_and_pages() {
    require!(Capability::Root);
    let program = require!(program());
    let file = patterned(FIRST);
    let mut shared = Shared::connect(&program);
    let probe = Probe::load(Sight::Everything).unwrap();
    let (first, second) = (shared.first.id(), shared.second.id());
    probe.follow(first).unwrap();
    probe.follow(second).unwrap();
    shared.transfer(file.path());
    let evidence = probe.evidence().unwrap();
    // Not by what the socket buffers say: bytes of both may share one.
    let page_cache = page_cache(file_id(file.path()));
    let expected = ByOrigin::from([(page_cache, FIRST), (Origin::Kernel, SECOND)]);
    assert_eq!(by_origin(&socket_of(&evidence, shared.socket).sent), expected);
    assert_eq!(evidence.sockets.len(), 1);
    assert_eq!(given(&evidence, first, shared.socket), FIRST);
    assert_eq!(given(&evidence, second, shared.socket), SECOND);
}

#[test]
fn a_socket_shared_with_a_stranger_shows_all_its_bytes_and_only_the_followed_calls() {
    require!(Capability::Root);
    let program = require!(program());
    let file = patterned(FIRST);
    let mut shared = Shared::connect(&program);
    let probe = Probe::load(Sight::Everything).unwrap();
    let (first, second) = (shared.first.id(), shared.second.id());
    probe.follow(first).unwrap();
    shared.transfer(file.path());
    let evidence = probe.evidence().unwrap();
    let left: u64 = all_that_left(&evidence).values().sum();
    assert_eq!((left, evidence.sockets.len()), (FIRST + SECOND, 1));
    assert_eq!(given(&evidence, first, shared.socket), FIRST);
    assert_eq!(given(&evidence, second, shared.socket), 0);
}

#[test]
fn a_socket_that_a_followed_process_holds_and_does_not_use_is_a_strangers() {
    require!(Capability::Root);
    let program = require!(program());
    let file = patterned(SECOND);
    let mut shared = Shared::connect(&program);
    let probe = Probe::load(Sight::Everything).unwrap();
    probe.follow(shared.first.id()).unwrap();
    let load = Load::whole(SECOND);
    shared.receiver.begin_receiving(Receiving::Truncate, &load).unwrap();
    shared.second.begin_sending(Sending::ReadWrite, file.path(), &load).unwrap();
    assert_eq!(shared.second.sent().unwrap().bytes, SECOND);
    assert_eq!(shared.receiver.received().unwrap(), SECOND);
    assert_eq!(probe.evidence().unwrap().sockets, []);
}

#[test]
fn a_neighbour_on_the_same_link_and_file_is_not_counted() {
    require!(Capability::Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(FIRST));
    let mut followed = Pair::start(&program, &link);
    let mut neighbour = Pair::start(&program, &link);
    let probe = Probe::load(Sight::Everything).unwrap();
    probe.follow(followed.sender.id()).unwrap();
    let (socket, _) = followed.connect(&link);
    neighbour.connect(&link);
    let load = Load::whole(SECOND);
    for pair in [&mut followed, &mut neighbour] {
        pair.receiver.begin_receiving(Receiving::Copy, &load).unwrap();
        pair.sender.begin_sending(Sending::Sendfile, file.path(), &load).unwrap();
    }
    for pair in [&mut followed, &mut neighbour] {
        pair.sender.sent().unwrap();
        assert_eq!(pair.receiver.received().unwrap(), SECOND);
    }
    let evidence = probe.evidence().unwrap();
    let page_cache = page_cache(file_id(file.path()));
    let expected = ByPage::from([((page_cache, Lent::Shared), SECOND)]);
    assert_eq!(by_page(&socket_of(&evidence, socket).sent), expected);
    assert_eq!(all_that_left(&evidence), expected);
    assert_eq!(evidence.received, [], "neither receiver is followed");
}

#[test]
fn a_stranger_at_the_address_of_a_closed_socket_is_not_charged_to_its_owner() {
    const TRIES: u64 = 200;
    require!(Capability::Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(100_000));
    let (mut owner, mut stranger) = (Pair::start(&program, &link), Pair::start(&program, &link));
    let probe = Probe::load(Sight::Everything).unwrap();
    probe.follow(owner.sender.id()).unwrap();
    let load = Load::whole(100_000);
    let addresses = [&mut owner, &mut stranger].map(|pair| pair.receiver.listen(link.far()));
    let [owners, strangers] = addresses.map(Result::unwrap);
    let (mut had, mut tries, mut reused) = (BTreeSet::new(), 0, 0);
    while reused < 5 && tries < TRIES {
        tries += 1;
        let connection = owner.sender.connect(owners).unwrap();
        owner.receiver.accept().unwrap();
        owner.transfer(Sending::Sendfile, file.path(), &load, Receiving::Copy);
        owner.close();
        let hash = connection.address_hash;
        had.insert(require!(hash.ok_or_else(|| Missing::new("/proc/net/tcp shows no address"))));
        let connection = stranger.sender.connect(strangers).unwrap();
        stranger.receiver.accept().unwrap();
        reused += u32::from(connection.address_hash.is_some_and(|hash| had.contains(&hash)));
        stranger.transfer(Sending::ReadWrite, file.path(), &load, Receiving::Copy);
        stranger.close();
    }
    assert!(reused > 0, "no address was given out again in {tries} tries");
    let evidence = probe.evidence().unwrap();
    let page_cache = page_cache(file_id(file.path()));
    let expected = ByPage::from([((page_cache, Lent::Shared), tries * 100_000)]);
    assert_eq!(all_that_left(&evidence), expected, "{reused} of {tries} reused");
}
