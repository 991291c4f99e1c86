//! Seven ways of sending a file × three links: every byte where it must be, to the byte.
//!
//! What is expected is written down by hand from what the kernel is documented and was seen to
//! do. A class of bytes that is expected at a lesser count, or not at all, fails as well: maps
//! are compared whole.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use linux_raw_sys::general as nr;
use underpass_measure::{
    Calls, Evidence, FileId, FileKind, Lent, Origin, Pages, Probe, Sight, Socket,
};
use underpass_testkit::compiled::Program;
use underpass_testkit::kernel::is_slow;
use underpass_testkit::network::Link;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Receiving, Sending, Sent};
use underpass_testkit::skip::Capability;

use crate::hidden::tried;
use crate::matrix_peers::{Pair, patterned, program};

/// Neither a multiple of a page nor of a call; larger than what a socket buffers.
const WHOLE: u64 = 8_388_611;

/// The three links of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Medium {
    Loopback,
    Veth,
    VethWithoutScatterGather,
}

/// One transfer under the probe, and what its participants say of it themselves.
struct Observed {
    evidence: Evidence,
    sender: u32,
    receiver: u32,
    /// Inode of the sender's socket.
    socket: u64,
    /// Inode of the receiver's socket.
    far_socket: u64,
    file: FileId,
    sent: Sent,
}

impl Observed {
    /// Whether as much was seen as the sender says that it sent, and sent again.
    fn is_whole(&self, load: &Load) -> bool {
        let socket = socket_of(&self.evidence, self.socket);
        let seen: u64 = socket.sent.iter().map(|pages| pages.bytes).sum();
        let sent = load.times * (load.header_bytes + load.body_bytes);
        (seen, socket.retransmitted_bytes) == (sent, self.sent.retransmitted_bytes)
    }
}

/// Sends the load in a fresh connection while sender and receiver are followed, from before they
/// have sockets; again if this machine hid a packet.
fn observe(
    link: &Link,
    program: &Program,
    way: Sending,
    file: &Path,
    load: &Load,
    how: Receiving,
) -> Observed {
    tried(|| observe_once(link, program, way, file, load, how), |seen| seen.is_whole(load))
}

fn observe_once(
    link: &Link,
    program: &Program,
    way: Sending,
    file: &Path,
    load: &Load,
    how: Receiving,
) -> Observed {
    let mut pair = Pair::start(program, link);
    let probe = Probe::load(Sight::Everything).unwrap();
    let (sender, receiver) = (pair.sender.id(), pair.receiver.id());
    probe.follow(sender).unwrap();
    probe.follow(receiver).unwrap();
    let (socket, far_socket) = pair.connect(link);
    let sent = pair.transfer(way, file, load, how);
    pair.close();
    let evidence = probe.evidence().unwrap();
    assert_eq!(evidence.lost, 0, "{way} {load:?}");
    Observed { evidence, sender, receiver, socket, far_socket, file: file_id(file), sent }
}

/// The file as the kernel names it.
pub(crate) fn file_id(file: &Path) -> FileId {
    let stat = rustix::fs::stat(file).unwrap();
    FileId {
        kind: FileKind::Regular,
        major: rustix::fs::major(stat.st_dev),
        minor: rustix::fs::minor(stat.st_dev),
        inode: stat.st_ino,
    }
}

/// What was seen of one socket.
pub(crate) fn socket_of(evidence: &Evidence, inode: u64) -> &Socket {
    let mut found = evidence.sockets.iter().filter(|socket| socket.inode == inode);
    let socket = found.next().unwrap_or_else(|| panic!("no socket {inode} in {evidence:#?}"));
    assert_eq!(found.next(), None, "socket {inode} is there twice");
    socket
}

pub(crate) type ByPage = BTreeMap<(Origin, Lent), u64>;
pub(crate) type ByOrigin = BTreeMap<Origin, u64>;

pub(crate) fn by_page<'a>(pages: impl IntoIterator<Item = &'a Pages>) -> ByPage {
    let mut sums = BTreeMap::new();
    for Pages { origin, lent, bytes, .. } in pages {
        *sums.entry((*origin, *lent)).or_insert(0) += bytes;
    }
    sums.retain(|_, bytes| *bytes > 0);
    sums
}

pub(crate) fn by_origin<'a>(pages: impl IntoIterator<Item = &'a Pages>) -> ByOrigin {
    let mut sums = BTreeMap::new();
    for ((origin, _), bytes) in by_page(pages) {
        *sums.entry(origin).or_insert(0) += bytes;
    }
    sums
}

/// Everything that left, through whichever socket.
pub(crate) fn all_that_left(evidence: &Evidence) -> ByPage {
    by_page(evidence.sockets.iter().flat_map(|socket| &socket.sent))
}

fn received_by(evidence: &Evidence, process: u32) -> ByOrigin {
    let of = evidence.received.iter().filter(|received| received.process == process);
    by_origin(of.map(|received| &received.pages))
}

pub(crate) fn page_cache(file: FileId) -> Origin {
    Origin::PageCache { major: file.major, minor: file.minor, inode: file.inode }
}

/// Where the bytes of a file must be when they leave.
fn leaves_from(way: Sending, medium: Medium, file: FileId) -> (Origin, Lent) {
    if medium == Medium::VethWithoutScatterGather {
        return (Origin::Linear, Lent::No);
    }
    match way {
        Sending::ReadWrite | Sending::MappedWrite => (Origin::Kernel, Lent::No),
        Sending::Sendfile | Sending::Splice | Sending::MappedSplice => {
            (page_cache(file), Lent::Shared)
        }
        Sending::ZeroCopy => (Origin::Anonymous, Lent::ZeroCopy),
        Sending::MappedZeroCopy => (page_cache(file), Lent::ZeroCopy),
    }
}

/// Where they must be when the receiver copies them, over a link with scatter-gather: what a
/// process lent was copied on the way in, because a receiver may keep it for ever.
fn arrives_at(way: Sending, file: FileId) -> Origin {
    match way {
        Sending::Sendfile | Sending::Splice | Sending::MappedSplice => page_cache(file),
        Sending::ReadWrite | Sending::MappedWrite | Sending::ZeroCopy | Sending::MappedZeroCopy => {
            Origin::Kernel
        }
    }
}

/// A small packet that finds its socket busy is pulled together while it waits, if its pages are
/// the kernel's own and in no one else's hands: linear then, and copied by the kernel either way.
fn without_condensed(mut received: ByOrigin) -> ByOrigin {
    const CONDENSED_MAX: u64 = 4096;
    let linear = received.get(&Origin::Linear).copied().unwrap_or(0);
    if let Some(kernel) = received.get_mut(&Origin::Kernel)
        && linear <= CONDENSED_MAX
    {
        *kernel += linear;
        received.remove(&Origin::Linear);
    }
    received
}

fn matrix_over(link: &Link, program: &Program, medium: Medium) {
    let file = patterned(WHOLE);
    let interface = link.near().interface_index().unwrap();
    for way in Sending::ALL {
        let seen = observe(link, program, way, file.path(), &Load::whole(WHOLE), Receiving::Copy);
        let socket = socket_of(&seen.evidence, seen.socket);
        let expected = ByPage::from([(leaves_from(way, medium, seen.file), WHOLE)]);
        assert_eq!(by_page(&socket.sent), expected, "{way} over {medium:?}");
        assert_eq!(socket.process, seen.sender, "{way}");
        assert_eq!(socket.upper_layer, None, "{way}");
        assert_eq!(socket.retransmitted_bytes, seen.sent.retransmitted_bytes, "{way}");
        let interfaces: Vec<u32> = socket.sent.iter().map(|pages| pages.interface).collect();
        assert!(interfaces.iter().all(|&at| at == interface), "{way} by {interfaces:?}");
        let local = socket.local.as_ref().map(SocketAddr::ip);
        assert_eq!(local, Some(IpAddr::V4(link.near().address())), "{way}");
        assert_eq!(all_that_left(&seen.evidence), expected, "{way}: nothing by another socket");
        let received = received_by(&seen.evidence, seen.receiver);
        if medium == Medium::VethWithoutScatterGather {
            // What the receiver's kernel makes of single packets is its own affair.
            assert_eq!(received.values().sum::<u64>(), WHOLE, "{way} {received:?}");
            assert!(!received.contains_key(&page_cache(seen.file)), "{way} {received:?}");
        } else {
            let expected = ByOrigin::from([(arrives_at(way, seen.file), WHOLE)]);
            assert_eq!(without_condensed(received), expected, "{way} over {medium:?}");
        }
        assert_eq!(received_by(&seen.evidence, seen.sender), ByOrigin::new(), "{way}");
    }
}

#[test]
fn over_loopback_each_way_shows_where_every_byte_lay() {
    require!(Capability::Root);
    let program = require!(program());
    matrix_over(&Link::loopback(), &program, Medium::Loopback);
}

#[test]
fn over_veth_each_way_shows_where_every_byte_lay() {
    let (program, link) = (require!(program()), require!(Link::veth()));
    matrix_over(&link, &program, Medium::Veth);
}

#[test]
fn without_scatter_gather_every_byte_is_copied_together_whatever_the_way() {
    let program = require!(program());
    let link = require!(Link::veth_without_scatter_gather());
    matrix_over(&link, &program, Medium::VethWithoutScatterGather);
}

/// Bytes that calls of this number moved for a process, by what they joined.
fn moved(evidence: &Evidence, process: u32, number: u32) -> BTreeMap<(End, End), u64> {
    let mut sums = BTreeMap::new();
    let calls = evidence.calls.iter();
    for call in calls.filter(|call| call.process == process && call.number == number) {
        let Calls { source, target, bytes, .. } = call;
        *sums.entry((End::of(*source), End::of(*target))).or_insert(0) += bytes;
    }
    sums.retain(|_, bytes| *bytes > 0);
    sums
}

/// One side of a call: pipes are told apart by nothing that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    None,
    Pipe,
    Of(FileId),
    Socket(u64),
}

impl End {
    fn of(file: Option<FileId>) -> Self {
        match file {
            None => Self::None,
            Some(FileId { kind: FileKind::Pipe, .. }) => Self::Pipe,
            Some(FileId { kind: FileKind::Socket, inode, .. }) => Self::Socket(inode),
            Some(file) => Self::Of(file),
        }
    }
}

#[test]
fn each_way_shows_the_calls_that_moved_its_bytes() {
    require!(Capability::Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(WHOLE));
    for way in Sending::ALL {
        let seen = observe(&link, &program, way, file.path(), &Load::whole(WHOLE), Receiving::Copy);
        let (file, socket) = (End::Of(seen.file), End::Socket(seen.socket));
        let calls: &[(u32, End, End)] = match way {
            Sending::ReadWrite => {
                &[(nr::__NR_pread64, file, End::None), (nr::__NR_write, End::None, socket)]
            }
            Sending::MappedWrite => &[(nr::__NR_write, End::None, socket)],
            Sending::Sendfile => &[(nr::__NR_sendfile, file, socket)],
            Sending::Splice => {
                &[(nr::__NR_splice, file, End::Pipe), (nr::__NR_splice, End::Pipe, socket)]
            }
            Sending::MappedSplice => {
                &[(nr::__NR_vmsplice, End::None, End::Pipe), (nr::__NR_splice, End::Pipe, socket)]
            }
            Sending::ZeroCopy => {
                &[(nr::__NR_pread64, file, End::None), (nr::__NR_sendto, End::None, socket)]
            }
            Sending::MappedZeroCopy => &[(nr::__NR_sendto, End::None, socket)],
        };
        for &(number, source, target) in calls {
            let joined = (source, target);
            let moved = moved(&seen.evidence, seen.sender, number);
            assert_eq!(moved.get(&joined), Some(&WHOLE), "{way}: call {number} in {moved:?}");
        }
        let asked = seen.evidence.calls.iter().filter(|call| call.is_zero_copy);
        let asked: u64 = asked.map(|call| call.bytes).sum();
        let is_zero_copy = matches!(way, Sending::ZeroCopy | Sending::MappedZeroCopy);
        assert_eq!(asked, if is_zero_copy { WHOLE } else { 0 }, "{way}");
        let far = (End::Socket(seen.far_socket), End::None);
        let taken = moved(&seen.evidence, seen.receiver, nr::__NR_recvfrom);
        assert_eq!(taken, BTreeMap::from([(far, WHOLE)]), "{way}");
    }
}

/// A header that is copied before a body that is not: the classification of a packet by its
/// first fragment is wrong by up to 78 % here.
fn headers_over(link: &Link, program: &Program, medium: Medium) {
    let (times, bodies) =
        if is_slow() { (500, &[4096][..]) } else { (2000, &[100, 4096, 16_384][..]) };
    let file = patterned(16_384);
    for way in Sending::ALL {
        for &body_bytes in bodies {
            let load = Load { call_bytes: 65_536, header_bytes: 200, body_bytes, times };
            let seen = observe(link, program, way, file.path(), &load, Receiving::Copy);
            let mut expected = ByOrigin::new();
            let (body, _) = leaves_from(way, medium, seen.file);
            let header = leaves_from(Sending::ReadWrite, medium, seen.file).0;
            *expected.entry(body).or_default() += times * body_bytes;
            *expected.entry(header).or_default() += times * 200;
            let sent = by_origin(&socket_of(&seen.evidence, seen.socket).sent);
            assert_eq!(sent, expected, "{way} {body_bytes} over {medium:?}");
        }
    }
}

#[test]
fn headers_and_bodies_that_share_packets_are_told_apart_over_loopback() {
    require!(Capability::Root);
    let program = require!(program());
    headers_over(&Link::loopback(), &program, Medium::Loopback);
}

#[test]
fn headers_and_bodies_that_share_packets_are_told_apart_over_veth() {
    let (program, link) = (require!(program()), require!(Link::veth()));
    headers_over(&link, &program, Medium::Veth);
}

#[test]
fn headers_and_bodies_are_copied_together_without_scatter_gather() {
    let program = require!(program());
    let link = require!(Link::veth_without_scatter_gather());
    headers_over(&link, &program, Medium::VethWithoutScatterGather);
}

#[test]
fn a_receiver_that_discards_copies_nothing() {
    require!(Capability::Root);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(WHOLE));
    for way in [Sending::ReadWrite, Sending::Sendfile, Sending::ZeroCopy] {
        let load = Load::whole(WHOLE);
        let seen = observe(&link, &program, way, file.path(), &load, Receiving::Truncate);
        assert_eq!(received_by(&seen.evidence, seen.receiver), ByOrigin::new(), "{way}");
        let left = by_page(&socket_of(&seen.evidence, seen.socket).sent);
        let expected = leaves_from(way, Medium::Loopback, seen.file);
        assert_eq!(left, ByPage::from([(expected, WHOLE)]), "{way}");
    }
}

#[test]
fn what_is_sent_again_is_counted_apart() {
    let program = require!(program());
    let link = require!(Link::veth_with_loss());
    let file = patterned(WHOLE);
    for way in [Sending::ReadWrite, Sending::Sendfile] {
        // Which packets are lost depends on how the sender cuts them.
        let mut tries = (0..10).map(|_| {
            let load = Load::whole(WHOLE);
            observe(&link, &program, way, file.path(), &load, Receiving::Copy)
        });
        let seen = tries.find(|seen| seen.sent.retransmitted_bytes > 0);
        let seen = seen.unwrap_or_else(|| panic!("{way}: nothing was lost"));
        let socket = socket_of(&seen.evidence, seen.socket);
        let expected = leaves_from(way, Medium::Veth, seen.file);
        assert_eq!(by_page(&socket.sent), ByPage::from([(expected, WHOLE)]), "{way}");
        assert_eq!(socket.retransmitted_bytes, seen.sent.retransmitted_bytes, "{way}");
    }
}

/// A second device shows the same socket buffer once more, and that is not a retransmission.
#[test]
fn a_packet_that_passes_a_second_device_is_counted_once() {
    let program = require!(program());
    let file = patterned(WHOLE);
    for make in [Link::bridged, Link::macvlan, Link::tunnel] {
        let link = require!(make());
        let interface = link.near().interface_index().unwrap();
        for way in [Sending::ReadWrite, Sending::Sendfile, Sending::ZeroCopy] {
            let load = Load::whole(WHOLE);
            let seen = observe(&link, &program, way, file.path(), &load, Receiving::Copy);
            let socket = socket_of(&seen.evidence, seen.socket);
            let expected = ByPage::from([(leaves_from(way, Medium::Veth, seen.file), WHOLE)]);
            assert_eq!(by_page(&socket.sent), expected, "{way}");
            assert!(socket.sent.iter().all(|pages| pages.interface == interface), "{way}");
            assert_eq!(socket.retransmitted_bytes, seen.sent.retransmitted_bytes, "{way}");
        }
    }
}
