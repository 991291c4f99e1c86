//! Kernel TLS: whatever the way, the kernel encrypts into its own pages, and the file's stay.
//!
//! sendfile(2) returns the same number over such a socket as over any other; where the bytes were
//! when they left is what tells.
//!
//! Source: Documentation/networking/tls.rst; RFC 8446 section 5.2 (what a record adds).

use underpass_measure::{Origin, Probe, Sight};
use underpass_testkit::network::Link;
use underpass_testkit::require;
use underpass_testkit::senders::{Load, Receiving, Sending};
use underpass_testkit::skip::Capability::{KernelTls, Root};

use crate::matrix::{by_origin, socket_of};
use crate::matrix_peers::{Pair, patterned, program};

const LEN: u64 = 3_000_017;

/// Of TLS 1.3 with AES-GCM: five bytes of header, one of type, sixteen of authentication.
pub(crate) const RECORD_ADDS: u64 = 22;
const RECORD_MAX: u64 = 16_384;

#[test]
fn over_kernel_tls_every_byte_leaves_from_pages_of_the_kernels_own() {
    require!(Root);
    require!(KernelTls);
    let program = require!(program());
    let (link, file) = (Link::loopback(), patterned(LEN));
    for way in [Sending::ReadWrite, Sending::Sendfile, Sending::Splice] {
        let mut pair = Pair::start(&program, &link);
        let probe = Probe::load(Sight::Everything).unwrap();
        probe.follow(pair.sender.id()).unwrap();
        let (socket, _) = pair.connect(&link);
        pair.encrypt();
        pair.transfer(way, file.path(), &Load::whole(LEN), Receiving::Copy);
        pair.close();
        let evidence = probe.evidence().unwrap();
        let socket = socket_of(&evidence, socket);
        assert_eq!(socket.upper_layer.as_deref(), Some("tls"), "{way}");
        let sent = by_origin(&socket.sent);
        assert_eq!(sent.keys().collect::<Vec<_>>(), [&Origin::Kernel], "{way}: {sent:?}");
        let added = sent.values().sum::<u64>() - LEN;
        assert!(added.is_multiple_of(RECORD_ADDS), "{way}: {added}");
        // A record is cut short only where a call ends, or the socket is full.
        let records = LEN.div_ceil(RECORD_MAX)..=2 * LEN.div_ceil(RECORD_MAX);
        assert!(records.contains(&(added / RECORD_ADDS)), "{way}: {added}");
    }
}
