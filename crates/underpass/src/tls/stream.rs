//! A TLS connection whose records the kernel makes and reads.
//!
//! Source: Documentation/networking/tls.rst; RFC 8446 §6.1.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use rustix::net::{RecvFlags, SendFlags};
use underpass_sys::tls::{self, CONTENT, Version};

use super::error::TlsError;
use super::inbound::{ALERT, CLOSE_NOTIFY, WARNING};
use super::records::{Given, Records};

/// A TLS connection whose records the kernel makes and reads.
///
/// A [`Source`](crate::Source) is made of it by [`Source::tls`](crate::Source::tls), a sink of its
/// socket: `Sink::stream(tls.socket())`. Reads and writes here wait as the socket does.
///
/// Session tickets and TLS 1.2's warnings are passed over. Keys stay those of the handshake: a
/// peer that changes its own is an error ([`TlsError::KeyUpdate`](crate::TlsError::KeyUpdate)), and
/// no more than [`Self::SEND_BYTES_MAX`] should be sent.
///
/// Closing the socket while its peer still takes bytes may lose the last of them, because the
/// kernel keeps some before the socket's own queue: close it when the peer has answered, or closed.
#[derive(Debug)]
pub struct TlsStream<S> {
    socket: S,
    pub(crate) records: Records,
}

impl<S: AsFd> TlsStream<S> {
    /// Bytes that one key of AES-GCM may encrypt: half of the 2^24 full records that RFC 8446 §5.5
    /// allows, since not every record is full.
    pub const SEND_BYTES_MAX: u64 = 1 << 37;

    pub(super) fn new(socket: S, version: Version) -> Self {
        Self { socket, records: Records::new(version) }
    }

    /// The socket, whose bytes are content: a sink for transfers.
    pub const fn socket(&self) -> &S {
        &self.socket
    }

    /// As [`Read::read`], through a shared reference; 0 at the peer's close_notify.
    ///
    /// # Errors
    ///
    /// A [`TlsError`](crate::TlsError) inside, of kind `UnexpectedEof` where the connection closed
    /// without close_notify; those of recvmsg(2), with `EBADMSG` for a forged record.
    pub fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        self.take(into, RecvFlags::empty())
    }

    /// Looks at content that the next [`Self::receive`] will take: some of it, or all there is.
    ///
    /// # Errors
    ///
    /// Those of [`Self::receive`]; [`TlsError::Record`](crate::TlsError::Record) for a record of
    /// content that has none, before one of another type.
    pub fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.take(into, RecvFlags::PEEK)
    }

    fn take(&self, into: &mut [u8], flags: RecvFlags) -> io::Result<usize> {
        let is_peek = flags.contains(RecvFlags::PEEK);
        while !into.is_empty() && !self.records.is_ended() {
            match Given::of(tls::receive(self.socket.as_fd(), into, flags)?)? {
                Given::Content(n) => return Ok(n),
                // Looked at it stays, and no call takes it for certain and nothing else.
                Given::Empty if is_peek => return Err(TlsError::Record(CONTENT).into()),
                Given::Empty => {}
                Given::Other(..) if is_peek => {
                    self.records.turn(self.socket.as_fd())?;
                }
                Given::Other(kind, n) => self.records.take(kind, &into[..n])?,
            }
        }
        Ok(0)
    }

    /// Tells the peer that no more content comes; its own may still.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if the socket is full, and then the peer was told nothing; those of sendmsg(2).
    pub fn close_notify(&self) -> io::Result<()> {
        tls::send_record(self.socket.as_fd(), ALERT, &[WARNING, CLOSE_NOTIFY])?;
        Ok(())
    }
}

impl<S: AsFd> Read for TlsStream<S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into)
    }
}

impl<S: AsFd> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
