//! The peers that the probe is proved with: that each sends exactly what it is told to.
//!
//! A sender that lost a byte, or a header, would make the probe's figures wrong or, worse, a
//! wrong probe's right. The receiver compares every byte with what the file holds there.

use std::io::Write;
use std::path::Path;

use tempfile::NamedTempFile;
use underpass_testkit::compiled::Program;
use underpass_testkit::disk::disk_dir;
use underpass_testkit::network::Link;
use underpass_testkit::payload::pattern;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Peer, Receiving, Sending, Sent};
use underpass_testkit::skip::Missing;

/// The program, compiled.
pub(crate) fn program() -> Result<Program, Missing> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/senders/sender.c");
    Program::compile(Path::new(source))
}

/// A named file on a disk, in the page cache, that holds the first `len` bytes of the payload.
pub(crate) fn patterned(len: u64) -> NamedTempFile {
    let mut file = NamedTempFile::new_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
    file.write_all(&pattern(0..len)).unwrap();
    // Dirty pages are written back at some later time, and pages under writeback differ.
    file.as_file().sync_all().unwrap();
    file
}

/// A sender at the near end and a receiver at the far end, connected.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) sender: Peer,
    pub(crate) receiver: Peer,
}

impl Pair {
    /// Starts both; nothing is connected.
    pub(crate) fn start(program: &Program, link: &Link) -> Self {
        let sender = Peer::start(program, link.near()).unwrap();
        Self { sender, receiver: Peer::start(program, link.far()).unwrap() }
    }

    /// Connects, and returns the inodes of the sender's and of the receiver's socket.
    pub(crate) fn connect(&mut self, link: &Link) -> (u64, u64) {
        let address = self.receiver.listen(link.far()).unwrap();
        let sender = self.sender.connect(address).unwrap();
        (sender.inode, self.receiver.accept().unwrap().inode)
    }

    /// Has the kernel encrypt what the sender sends, and decrypt it for the receiver.
    pub(crate) fn encrypt(&mut self) {
        self.sender.encrypt().unwrap();
        self.receiver.decrypt().unwrap();
    }

    /// Sends a load and waits until it has been received, whole and right.
    pub(crate) fn transfer(
        &mut self,
        way: Sending,
        file: &Path,
        load: &Load,
        how: Receiving,
    ) -> Sent {
        self.receiver.begin_receiving(how, load).unwrap();
        self.sender.begin_sending(way, file, load).unwrap();
        let sent = self.sender.sent().unwrap_or_else(|error| panic!("{way} {load:?}: {error}"));
        let received = self.receiver.received();
        let received = received.unwrap_or_else(|error| panic!("{way} {load:?}: {error}"));
        assert_eq!((sent.bytes, received), (load.total_bytes(), load.total_bytes()), "{way}");
        sent
    }

    /// Closes, and waits until the receiver has seen that no byte more has come.
    pub(crate) fn close(&mut self) {
        self.sender.close().unwrap();
        self.receiver.ended().unwrap();
        self.receiver.close().unwrap();
    }
}

/// Every way, the whole of a file and pieces of it with headers, over one link.
fn deliver_everything(link: &Link, program: &Program) {
    // Neither a multiple of a page nor of a call.
    let file = patterned(1_000_003);
    let loads = [
        Load::whole(1_000_003),
        Load { call_bytes: 1 << 20, ..Load::whole(1_000_003) },
        Load { call_bytes: 1000, ..Load::whole(10_001) },
        Load { call_bytes: 65_536, header_bytes: 200, body_bytes: 4096, times: 50 },
        Load { call_bytes: 65_536, header_bytes: 200, body_bytes: 100, times: 50 },
    ];
    for way in Sending::ALL {
        let mut pair = Pair::start(program, link);
        pair.connect(link);
        for load in &loads {
            let sent = pair.transfer(way, file.path(), load, Receiving::Copy);
            let is_zero_copy = matches!(way, Sending::ZeroCopy | Sending::MappedZeroCopy);
            let calls = load.times * load.body_bytes.div_ceil(load.call_bytes);
            // A call on a full socket may be cut; what is left is sent by another.
            assert!(is_zero_copy || sent.zero_copy_sends == 0, "{way} {sent:?}");
            assert!(!is_zero_copy || sent.zero_copy_sends >= calls, "{way} {calls} {sent:?}");
        }
        pair.transfer(way, file.path(), &loads[0], Receiving::Truncate);
        pair.close();
    }
}

#[test]
fn every_peer_delivers_exactly_its_bytes_over_loopback() {
    let program = require!(program());
    deliver_everything(&Link::loopback(), &program);
}

#[test]
fn every_peer_delivers_exactly_its_bytes_over_veth() {
    let (program, link) = (require!(program()), require!(Link::veth()));
    deliver_everything(&link, &program);
}

#[test]
fn every_peer_delivers_exactly_its_bytes_over_veth_without_scatter_gather() {
    let program = require!(program());
    deliver_everything(&require!(Link::veth_without_scatter_gather()), &program);
}

#[test]
fn what_is_lost_on_the_way_is_sent_again_and_counted() {
    let program = require!(program());
    let link = require!(Link::veth_with_loss());
    let file = patterned(4 << 20);
    let mut pair = Pair::start(&program, &link);
    pair.connect(&link);
    let sent =
        pair.transfer(Sending::Sendfile, file.path(), &Load::whole(4 << 20), Receiving::Copy);
    assert!(sent.retransmitted_bytes > 0, "{sent:?}");
}

#[test]
fn the_kernel_says_that_it_copied_each_zero_copy_send_on_loopback() {
    let program = require!(program());
    let link = Link::loopback();
    let file = patterned(1 << 20);
    for way in [Sending::ZeroCopy, Sending::MappedZeroCopy] {
        let mut pair = Pair::start(&program, &link);
        pair.connect(&link);
        let sent = pair.transfer(way, file.path(), &Load::whole(1 << 20), Receiving::Copy);
        assert!(sent.zero_copy_sends >= 16, "{sent:?}");
        assert_eq!(sent.copied_sends, sent.zero_copy_sends, "{sent:?}");
    }
}

#[test]
fn a_receiver_that_expects_other_bytes_names_the_first_wrong_one() {
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(10_000));
    let mut pair = Pair::start(&program, &link);
    pair.connect(&link);
    // Without headers byte 4096 of the stream is byte 4096 of the file, 4096 mod 251 = 80; the
    // receiver expects the file to begin again there.
    let twice = Load { call_bytes: 4096, header_bytes: 0, body_bytes: 4096, times: 2 };
    pair.receiver.begin_receiving(Receiving::Copy, &twice).unwrap();
    pair.sender.begin_sending(Sending::Sendfile, file.path(), &Load::whole(10_000)).unwrap();
    let error = pair.receiver.received().unwrap_err();
    assert_eq!(error.to_string(), "the peer said: error byte 4096 is 80");
}
