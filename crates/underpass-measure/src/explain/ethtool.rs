//! Whether an interface takes packets in scattered pieces, asked over generic netlink.
//!
//! The answer lists the active features by name; that scatter-gather is not among them means it
//! is off. No answer means not known: a kernel without the family, or an interface that is gone.
//!
//! Source: `Documentation/networking/ethtool-netlink.rst` (FEATURES_GET, bit sets),
//! `Documentation/userspace-api/netlink/intro.rst`.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink};

/// `GENL_ID_CTRL`, the family that names families.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
const FEATURES_GET: u8 = 11;
const HEADER: u16 = 1;
const HEADER_INDEX: u16 = 1;
const ACTIVE: u16 = 4;
const BITS: u16 = 3;
const BIT_NAME: u16 = 2;
const NESTED: u16 = 1 << 15;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;

/// A netlink header and that of generic netlink.
const HEADERS_LEN: usize = 20;
const ANSWER_MAX: usize = 32 * 1024;

/// Whether the interface of an index has `tx-scatter-gather` on, in this thread's network.
///
/// # Errors
///
/// `PROTO` for an answer that cannot be read, `NODEV` if there is no such interface, and those
/// of socket(2), send(2) and recv(2).
pub(crate) fn has_scatter_gather(index: u32) -> Result<bool, Errno> {
    let socket =
        rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, Some(netlink::GENERIC))?;
    let family = ask(&socket, CONTROL, GET_FAMILY, &attribute(FAMILY_NAME, b"ethtool\0"))?;
    let family = find(&family, FAMILY_ID).and_then(|id| id.try_into().ok()).ok_or(Errno::PROTO)?;
    let header = attribute(HEADER | NESTED, &attribute(HEADER_INDEX, &index.to_ne_bytes()));
    let answer = ask(&socket, u16::from_ne_bytes(family), FEATURES_GET, &header)?;
    let active = find(&answer, ACTIVE).ok_or(Errno::PROTO)?;
    Ok(names(active).any(|name| name == b"tx-scatter-gather\0"))
}

/// Sends a request and returns the attributes of its answer.
fn ask(socket: &OwnedFd, family: u16, command: u8, attributes: &[u8]) -> Result<Vec<u8>, Errno> {
    let len = u32::try_from(HEADERS_LEN + attributes.len()).map_err(|_| Errno::MSGSIZE)?;
    let mut request = Vec::new();
    request.extend(len.to_ne_bytes());
    request.extend(family.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port, which one question on its own socket does not need.
    request.extend([0; 8]);
    request.extend([command, 1, 0, 0]);
    request.extend(attributes);
    rustix::net::send(socket, &request, SendFlags::empty())?;
    let mut answer = vec![0; ANSWER_MAX];
    let (len, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
    answer.truncate(len);
    if field(&answer, 4) == Some(NLMSG_ERROR) {
        return Err(refusal(&answer));
    }
    answer.get(HEADERS_LEN..).map(<[u8]>::to_vec).ok_or(Errno::PROTO)
}

/// netlink(7): an error's payload begins with its negative errno.
fn refusal(answer: &[u8]) -> Errno {
    let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(code) if code < 0 => Errno::from_raw_os_error(-code),
        Some(_) | None => Errno::PROTO,
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + value.len()).expect("requests are short");
    let mut bytes = Vec::new();
    bytes.extend(len.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn field(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(field))
}

/// The attributes of a list, as long as they are whole.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (len, kind) = (usize::from(field(bytes, 0)?), field(bytes, 2)?);
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind & !NESTED, value))
    })
}

fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(is, _)| *is == kind).map(|(_, value)| value)
}

/// The names in a bit set without a mask: each bit that is listed is set.
fn names(bit_set: &[u8]) -> impl Iterator<Item = &[u8]> {
    let bits = find(bit_set, BITS).unwrap_or(&[]);
    attributes(bits).filter_map(|(_, bit)| find(bit, BIT_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_takes_scattered_pieces_and_no_interface_is_no_answer() {
        match has_scatter_gather(1) {
            Ok(is_on) => assert!(is_on),
            // A kernel without CONFIG_ETHTOOL_NETLINK.
            Err(errno) => assert_eq!(errno, Errno::NOENT),
        }
        assert!(has_scatter_gather(1 << 30).is_err());
    }

    #[test]
    fn attributes_that_are_cut_end_the_list() {
        let whole = [attribute(7, b"abc"), attribute(8 | NESTED, b"")].concat();
        let read: Vec<_> = attributes(&whole).collect();
        assert_eq!(read, [(7, &b"abc"[..]), (8, &b""[..])]);
        for cut in 0..8 {
            assert_eq!(attributes(&whole[..cut]).count(), usize::from(cut >= 7), "{cut}");
        }
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
    }
}
