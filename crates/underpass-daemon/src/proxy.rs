//! The PROXY protocol, versions 1 and 2: who the client is, said before the stream's first byte.
//!
//! A header that is announced must be there and be whole: whatever is not one ends the
//! connection, since a client that could leave it out could claim to be anybody. Extensions
//! (TLVs) have to be whole, and the header to have the checksum that one of them says; they are not
//! passed on.
//!
//! Source: HAProxy, doc/proxy-protocol.txt §2.1 (version 1, at most 107 bytes), §2.2 (version 2).

mod extensions;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, its end included.
const LINE_MAX: usize = 107;

/// The longest header that is taken, of version 2: the longest addresses and ample extensions.
pub const HEADER_MAX: usize = 4096;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;

/// Which header a target gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The two ends of a client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// The client's.
    pub source: SocketAddr,
    /// That to which it connected.
    pub destination: SocketAddr,
}

/// A header that was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of it.
    pub len: usize,
    /// `None` where the sender speaks for itself or does not know.
    pub addresses: Option<Addresses>,
}

/// What makes bytes no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// Its first bytes are of neither version.
    #[error("no PROXY header")]
    Signature,
    /// A line that is not one of version 1.
    #[error("a PROXY line that is not one of version 1")]
    Line,
    /// A version, command or family that there is not.
    #[error("a PROXY header of a version, command or family that version 2 does not have")]
    Kind,
    /// Shorter than its addresses, or longer than there is room for.
    #[error("a PROXY header of {len} bytes")]
    Length {
        /// How long.
        len: usize,
    },
    /// An extension that is cut.
    #[error("a PROXY header whose extension at byte {at} is not whole")]
    Extension {
        /// Where it begins.
        at: usize,
    },
    /// It was altered on the way.
    #[error("a PROXY header whose checksum is of another one")]
    Checksum,
}

/// Reads a header from the start of a stream; `None` if more of it has to come.
///
/// # Errors
///
/// [`Malformed`].
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let starts = |signature: &[u8]| bytes.iter().zip(signature).all(|(a, b)| a == b);
    if starts(SIGNATURE) {
        parse_binary(bytes)
    } else if starts(b"PROXY ") {
        parse_line(bytes)
    } else {
        Err(Malformed::Signature)
    }
}

fn parse_line(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let longest = bytes.get(..LINE_MAX).unwrap_or(bytes);
    let Some(end) = longest.windows(2).position(|two| two == b"\r\n") else {
        return if bytes.len() < LINE_MAX { Ok(None) } else { Err(Malformed::Line) };
    };
    let line = longest.get(..end).and_then(|line| str::from_utf8(line).ok());
    let mut words = line.ok_or(Malformed::Line)?.split(' ').skip(1);
    let addresses = match words.next() {
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let words: Vec<&str> = words.collect();
            Some(line_addresses(family == "TCP4", &words).ok_or(Malformed::Line)?)
        }
        Some(_) | None => return Err(Malformed::Line),
    };
    Ok(Some(Header { len: end + 2, addresses }))
}

fn line_addresses(is_v4: bool, words: &[&str]) -> Option<Addresses> {
    let [source, destination, source_port, destination_port] = *words else { return None };
    let ip = |text: &str| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == is_v4);
    let port = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_plain)
    };
    Some(Addresses {
        source: (ip(source)?, port(source_port)?).into(),
        destination: (ip(destination)?, port(destination_port)?).into(),
    })
}

fn parse_binary(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    let rest_len = usize::from(u16::from_be_bytes([high, low]));
    let len = FIXED + rest_len;
    if len > HEADER_MAX {
        return Err(Malformed::Length { len });
    }
    // Version 2; LOCAL or PROXY; an address family and a transport that there are.
    // LOCAL says nothing of its family.
    let is_known = command == 0x20 || command == 0x21 && family >> 4 <= 3 && family & 0xf <= 2;
    if !is_known {
        return Err(Malformed::Kind);
    }
    let Some(rest) = rest.get(..rest_len) else { return Ok(None) };
    let header = |addresses| Ok(Some(Header { len, addresses }));
    // LOCAL is discarded as a block; of an unspecified family the addresses' length is not known.
    let addresses_len = match (command, family >> 4) {
        (0x21, 1) => 12,
        (0x21, 2) => 36,
        (0x21, 3) => 216,
        _ => return header(None),
    };
    if rest_len < addresses_len {
        return Err(Malformed::Length { len });
    }
    extensions::check(bytes.get(..len).unwrap_or(bytes), FIXED + addresses_len)?;
    header(match family {
        0x11 => binary_v4(rest),
        0x21 => binary_v6(rest),
        _ => None,
    })
}

fn binary_v4(bytes: &[u8]) -> Option<Addresses> {
    let (source, bytes) = bytes.split_first_chunk::<4>()?;
    let (destination, bytes) = bytes.split_first_chunk::<4>()?;
    binary_ports(Ipv4Addr::from(*source).into(), Ipv4Addr::from(*destination).into(), bytes)
}

fn binary_v6(bytes: &[u8]) -> Option<Addresses> {
    let (source, bytes) = bytes.split_first_chunk::<16>()?;
    let (destination, bytes) = bytes.split_first_chunk::<16>()?;
    binary_ports(Ipv6Addr::from(*source).into(), Ipv6Addr::from(*destination).into(), bytes)
}

fn binary_ports(source: IpAddr, destination: IpAddr, bytes: &[u8]) -> Option<Addresses> {
    let &[a, b, c, d] = bytes.first_chunk::<4>()?;
    Some(Addresses {
        source: (source, u16::from_be_bytes([a, b])).into(),
        destination: (destination, u16::from_be_bytes([c, d])).into(),
    })
}

/// The header for a connection that is the relay's own.
#[must_use]
pub fn encode_local(version: Version) -> Vec<u8> {
    let mut header = encode(version, None);
    if let (Version::V2, Some(command)) = (version, header.get_mut(SIGNATURE.len())) {
        *command = 0x20;
    }
    header
}

/// The header for a connection; without addresses it says that they are not known.
#[must_use]
pub fn encode(version: Version, addresses: Option<Addresses>) -> Vec<u8> {
    let addresses = addresses.and_then(same_family);
    match version {
        Version::V1 => encode_line(addresses),
        Version::V2 => encode_binary(addresses),
    }
}

/// Both addresses of one family: where only one is IPv4, it is written as IPv6.
fn same_family(addresses: Addresses) -> Option<Addresses> {
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (source, destination) = (plain(addresses.source), plain(addresses.destination));
    if source.is_ipv4() == destination.is_ipv4() {
        return Some(Addresses { source, destination });
    }
    let wide = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    Some(Addresses { source: wide(source), destination: wide(destination) })
}

fn encode_line(addresses: Option<Addresses>) -> Vec<u8> {
    let Some(Addresses { source, destination }) = addresses else {
        return b"PROXY UNKNOWN\r\n".to_vec();
    };
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port()).into_bytes()
}

fn encode_binary(addresses: Option<Addresses>) -> Vec<u8> {
    let mut rest = Vec::new();
    let mut family = 0x00;
    if let Some(Addresses { source, destination }) = addresses {
        family = if source.is_ipv4() { 0x11 } else { 0x21 };
        for address in [source, destination] {
            match address.ip() {
                IpAddr::V4(ip) => rest.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => rest.extend_from_slice(&ip.octets()),
            }
        }
        rest.extend_from_slice(&source.port().to_be_bytes());
        rest.extend_from_slice(&destination.port().to_be_bytes());
    }
    let len = u16::try_from(rest.len()).expect("two addresses have 36 bytes at most");
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[0x21, family]);
    header.extend_from_slice(&len.to_be_bytes());
    header.append(&mut rest);
    header
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn addresses(source: &str, destination: &str) -> Option<Addresses> {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Some(Addresses { source, destination })
    }

    #[test]
    fn lines_of_version_1_are_read_to_their_end_and_no_further() {
        for (text, len, want) in [
            (
                "PROXY TCP4 1.2.3.4 5.6.7.8 1 65535\r\nGET",
                36,
                addresses("1.2.3.4:1", "5.6.7.8:65535"),
            ),
            ("PROXY TCP6 ::1 fe80::2 80 81\r\n", 30, addresses("[::1]:80", "[fe80::2]:81")),
            ("PROXY UNKNOWN\r\nx", 15, None),
            ("PROXY UNKNOWN what ever\r\n", 25, None),
        ] {
            let header = Header { len, addresses: want };
            assert_eq!(parse(text.as_bytes()), Ok(Some(header)), "{text}");
            for cut in 0..len {
                assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None), "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_line_of_version_1_is_refused() {
        for text in [
            "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
            "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
            "PROXY UDP4 1.2.3.4 5.6.7.8 1 2\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Malformed::Line), "{text}");
        }
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(Malformed::Signature));
        assert_eq!(parse(b"PROXZ"), Err(Malformed::Signature));
        let endless = [&b"PROXY UNKNOWN "[..], &[b'a'; 93]].concat();
        assert_eq!(endless.len(), 107);
        assert_eq!(parse(&endless[..106]), Ok(None));
        assert_eq!(parse(&endless), Err(Malformed::Line));
    }

    /// A header of version 2 made by hand.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &len, rest].concat()
    }

    #[test]
    fn headers_of_version_2_are_read_with_their_extensions() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0xff, 0xff];
        let with_extension = [&v4[..], &[4, 0, 1, 9]].concat();
        let with_checksum = [&v4[..], b"\x03\0\x04\x7f\x6e\x70\x7f"].concat();
        let behind_another = [&v4[..], b"\x04\0\x02\0\0\x03\0\x04\xf1\x91\x3f\x04"].concat();
        for (bytes, want) in [
            (binary(0x21, 0x11, &v4), addresses("1.2.3.4:1", "5.6.7.8:65535")),
            (binary(0x21, 0x11, &with_extension), addresses("1.2.3.4:1", "5.6.7.8:65535")),
            (binary(0x21, 0x11, &with_checksum), addresses("1.2.3.4:1", "5.6.7.8:65535")),
            (binary(0x21, 0x11, &behind_another), addresses("1.2.3.4:1", "5.6.7.8:65535")),
            (binary(0x21, 0x12, &with_extension), None),
            (binary(0x21, 0x00, &[4, 0]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x20, 0x00, &[]), None),
            // LOCAL: "discard the protocol block including the family".
            (binary(0x20, 0x41, &[9]), None),
            (binary(0x20, 0x13, &[]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let header = Header { len: bytes.len(), addresses: want };
            let more = [&bytes[..], b"GET"].concat();
            assert_eq!(parse(&more), Ok(Some(header)));
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
            }
        }
    }

    #[test]
    fn headers_that_version_2_does_not_have_are_refused() {
        for (command, family) in [(0x11, 0x11), (0x22, 0x11), (0x21, 0x41), (0x21, 0x13)] {
            assert_eq!(parse(&binary(command, family, &[0; 36])), Err(Malformed::Kind));
        }
        assert_eq!(parse(&binary(0x21, 0x11, &[0; 11])), Err(Malformed::Length { len: 27 }));
        assert_eq!(parse(&binary(0x21, 0x21, &[0; 35])), Err(Malformed::Length { len: 51 }));
        assert_eq!(parse(&binary(0x21, 0x31, &[0; 215])), Err(Malformed::Length { len: 231 }));
        let long = binary(0x21, 0x11, &[0; 4081]);
        assert_eq!(parse(&long[..16]), Err(Malformed::Length { len: 4097 }));
    }

    #[test]
    fn extensions_that_are_cut_or_have_another_headers_checksum_are_refused() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0xff, 0xff];
        for (extension, at) in [
            (&b"\x04"[..], 28),
            (b"\x04\0", 28),
            (b"\x04\0\x01", 28),
            (b"\x04\0\0\x05\0\x02x", 31),
            (b"\x03\0\0", 28),
            (b"\x03\0\x05\x7f\x6e\x70\x7f\0", 28),
        ] {
            let header = binary(0x21, 0x11, &[&v4, extension].concat());
            assert_eq!(parse(&header), Err(Malformed::Extension { at }), "{extension:?}");
            assert_eq!(parse(&header[..header.len() - 1]), Ok(None));
        }
        let with_checksum = [&v4[..], b"\x03\0\x04\x7f\x6e\x70\x7f"].concat();
        // A bit of an address, of a port, of the checksum.
        for at in [0, 11, 15, 18] {
            let mut altered = with_checksum.clone();
            altered[at] ^= 0x80;
            assert_eq!(parse(&binary(0x21, 0x11, &altered)), Err(Malformed::Checksum), "{at}");
        }
    }

    #[test]
    fn both_versions_are_written_as_the_specification_has_them() {
        let v4 = addresses("1.2.3.4:1", "5.6.7.8:65535");
        assert_eq!(encode(Version::V1, v4), b"PROXY TCP4 1.2.3.4 5.6.7.8 1 65535\r\n");
        assert_eq!(encode(Version::V1, None), b"PROXY UNKNOWN\r\n");
        let rest = [1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 0xff, 0xff];
        assert_eq!(encode(Version::V2, v4), binary(0x21, 0x11, &rest));
        assert_eq!(encode(Version::V2, None), binary(0x21, 0x00, &[]));
        assert_eq!(encode_local(Version::V1), b"PROXY UNKNOWN\r\n");
        assert_eq!(encode_local(Version::V2), binary(0x20, 0x00, &[]));
        let mixed = addresses("1.2.3.4:1", "[::1]:2");
        assert_eq!(encode(Version::V1, mixed), b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n");
    }

    proptest! {
        /// Whatever comes, a header is never longer than what was read, nor than the bounds.
        #[test]
        fn no_bytes_are_read_past_the_end(bytes in vec(any::<u8>(), 0..200), start in 0..3_usize) {
            let signature = [&b""[..], b"PROXY ", SIGNATURE][start];
            let bytes = [signature, &bytes].concat();
            match parse(&bytes) {
                Ok(Some(header)) => prop_assert!(header.len <= bytes.len()),
                Ok(None) => prop_assert!(bytes.len() < HEADER_MAX),
                Err(_) => {}
            }
        }
    }
}
