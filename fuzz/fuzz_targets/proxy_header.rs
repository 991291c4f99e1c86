//! PROXY headers, next to the crate `ppp`: whole or not yet, and never longer than they are.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use ppp::{HeaderResult, v1, v2};
use underpass_relay::Version;
use underpass_relay::fuzzing::{self, Header};

/// The longest header that is taken.
const HEADER_MAX: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    match fuzzing::proxy_header(bytes) {
        Ok(None) => assert!(bytes.len() < HEADER_MAX, "it waits for ever"),
        Ok(Some(header)) => taken(bytes, header),
        Err(_) => refused(bytes),
    }
});

/// The header is where it ends, whatever follows, and not before.
fn taken(bytes: &[u8], header: Header) {
    let (len, both) = header;
    assert!(len <= HEADER_MAX);
    assert_eq!(fuzzing::proxy_header(&bytes[..len]), Ok(Some(header)));
    for cut in [0, 1, len / 2, len - 1] {
        assert_eq!(fuzzing::proxy_header(&bytes[..cut]), Ok(None), "cut at {cut}");
    }
    let other = addresses(&bytes[..len]);
    if let Some(other) = other {
        assert_eq!(other, both, "ppp reads something else");
    }
    for version in [Version::V1, Version::V2] {
        let written = fuzzing::encode(version, both);
        let again = fuzzing::proxy_header(&written);
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let same = both.map(|(source, destination)| (canonical(source), canonical(destination)));
        let read = again.expect("a header").expect("a whole one");
        assert_eq!(read.0, written.len());
        let read = read.1.map(|(source, destination)| (canonical(source), canonical(destination)));
        assert_eq!(read, same);
    }
}

/// What was refused stays refused, whatever follows.
fn refused(bytes: &[u8]) {
    let more = [bytes, b"\r\nGET / HTTP/1.1\r\n\r\n"].concat();
    assert!(fuzzing::proxy_header(&more).is_err(), "more bytes make it a header");
}

/// What `ppp` reads; `None` if it refuses the header or has no addresses that can be compared.
fn addresses(header: &[u8]) -> Option<Option<(SocketAddr, SocketAddr)>> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Some(match header.addresses {
            v1::Addresses::Tcp4(ip) => Some((
                (ip.source_address, ip.source_port).into(),
                (ip.destination_address, ip.destination_port).into(),
            )),
            v1::Addresses::Tcp6(ip) => Some((
                (ip.source_address, ip.source_port).into(),
                (ip.destination_address, ip.destination_port).into(),
            )),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(Ok(header)) => {
            if header.command == v2::Command::Local || header.protocol != v2::Protocol::Stream {
                return Some(None);
            }
            Some(match header.addresses {
                v2::Addresses::IPv4(ip) => Some((
                    (ip.source_address, ip.source_port).into(),
                    (ip.destination_address, ip.destination_port).into(),
                )),
                v2::Addresses::IPv6(ip) => Some((
                    (ip.source_address, ip.source_port).into(),
                    (ip.destination_address, ip.destination_port).into(),
                )),
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            })
        }
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => None,
    }
}
