//! Messages between a comparison and the processes it starts: JSON, one a datagram, with
//! descriptors with it.
//!
//! A peer that is gone is an end, never a wait: both sides find it out at the next message.
//!
//! Source: unix(7), `SOCK_SEQPACKET`, `SCM_RIGHTS`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, in bytes; the longest known is an account of about 1 KiB.
const MESSAGE_MAX: usize = 64 * 1024;

/// Descriptors that go with one message at most.
const DESCRIPTORS_MAX: usize = 4;

/// A connected pair of sockets for messages.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
    Ok(rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message and copies of `descriptors`.
pub(super) fn send<T: Serialize>(
    socket: impl AsFd,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG.into());
    }
    let slices = [IoSlice::new(&text)];
    let send = || rustix::net::sendmsg(&socket, &slices, &mut beside, SendFlags::NOSIGNAL);
    rustix::io::retry_on_intr(send)?;
    Ok(())
}

/// Waits for the next message; `None` when the peer is gone.
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = vec![0; MESSAGE_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let receive = || {
        let slices = &mut [IoSliceMut::new(&mut text)];
        rustix::net::recvmsg(&socket, slices, &mut beside, RecvFlags::CMSG_CLOEXEC)
    };
    let received = match rustix::io::retry_on_intr(receive) {
        Err(Errno::CONNRESET) => return Ok(None),
        answer => answer?,
    };
    if received.bytes == 0 {
        return Ok(None);
    }
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    let message = serde_json::from_slice(text.get(..received.bytes).unwrap_or_default())?;
    Ok(Some((message, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_message_arrives_with_its_descriptors_and_a_peer_that_is_gone_is_an_end() {
        let (here, there) = pair().unwrap();
        let (mut read, write) = io::pipe().unwrap();
        send(&here, &("go", 7), &[write.as_fd()]).unwrap();
        drop(write);
        let ((word, number), mut descriptors): ((String, u32), _) =
            receive(&there).unwrap().unwrap();
        assert_eq!((word.as_str(), number, descriptors.len()), ("go", 7, 1));
        File::from(descriptors.remove(0)).write_all(b"x").unwrap();
        let mut got = String::new();
        read.read_to_string(&mut got).unwrap();
        assert_eq!(got, "x");
        drop(here);
        assert!(receive::<u32>(&there).unwrap().is_none());
    }
}
