//! Records that rustls makes and reads, over a socket that no call here waits for.
//!
//! Source: RFC 8446 §6.1; recv(2) and send(2), `MSG_DONTWAIT`.

use std::io::{self, BufRead, IoSlice, Read, Write};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustls::Connection;

use super::error::TlsError;
use super::records::Halt;
use crate::error::ErrorKind;

/// A connection's state, shared by its stream and its transfers.
#[derive(Debug, Clone)]
pub(crate) struct UserSpace(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    connection: Connection,
    /// Content that was peeked at.
    peeked: Vec<u8>,
    /// The reason for the `EIO` that a transfer got.
    failure: Option<TlsError>,
}

impl UserSpace {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(State { connection, peeked: Vec::new(), failure: None })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn receive(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        let mut state = self.state();
        if state.peeked.is_empty() {
            return state.take(socket, into);
        }
        let n = state.peeked.len().min(into.len());
        into[..n].copy_from_slice(&state.peeked[..n]);
        state.peeked.drain(..n);
        Ok(n)
    }

    pub(super) fn peek(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        let mut state = self.state();
        let known = state.peeked.len().min(into.len());
        into[..known].copy_from_slice(&state.peeked[..known]);
        let mut seen = known;
        while seen < into.len() {
            match state.take(socket, &mut into[seen..]) {
                Ok(0) => break,
                Ok(n) => {
                    state.peeked.extend_from_slice(&into[seen..seen + n]);
                    seen += n;
                }
                // Its reason comes again with the next call.
                Err(_) if seen > 0 => break,
                Err(halt) => return Err(halt),
            }
        }
        Ok(seen)
    }

    /// Whether content has been decrypted, or bytes of the peer's are in the socket.
    pub(super) fn has_unread(&self, socket: BorrowedFd<'_>) -> bool {
        let mut state = self.state();
        let is_decrypted = state.connection.reader().fill_buf().is_ok_and(|it| !it.is_empty());
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let in_socket = || rustix::net::recv(socket, &mut [0; 1][..], flags);
        is_decrypted || !state.peeked.is_empty() || matches!(in_socket(), Ok((1.., _)))
    }

    /// Takes what there is room for; [`Self::flush`] sends what the socket did not take at once.
    pub(super) fn send(
        &self,
        socket: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
    ) -> Result<usize, Halt> {
        let mut state = self.state();
        state.flush(socket)?;
        let n = state.connection.writer().write_vectored(slices).map_err(|e| errno_of(&e))?;
        match state.flush(socket) {
            Err(Errno::AGAIN) => Ok(n),
            flushed => Ok(flushed.map(|()| n)?),
        }
    }

    pub(super) fn finish(&self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        self.state().flush(socket)
    }

    pub(super) fn close_notify(&self, socket: BorrowedFd<'_>) -> Result<(), Halt> {
        let mut state = self.state();
        state.connection.send_close_notify();
        Ok(state.flush(socket)?)
    }

    /// [`Self::receive`] as a system call would have answered; [`Self::past`] has the reason of an
    /// `EIO`.
    pub(super) fn read(&self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<u64, Errno> {
        self.receive(socket, into).map(|n| n as u64).map_err(|halt| self.keep(halt))
    }

    /// [`Self::send`] in the same way.
    pub(super) fn write(
        &self,
        socket: BorrowedFd<'_>,
        slices: &[IoSlice<'_>],
    ) -> Result<u64, Errno> {
        self.send(socket, slices).map(|n| n as u64).map_err(|halt| self.keep(halt))
    }

    fn keep(&self, halt: Halt) -> Errno {
        let failure = match halt {
            Halt::Call(errno) => return errno,
            Halt::Rustls(rustls::Error::DecryptError) => return Errno::BADMSG,
            Halt::Tls(error) => error,
            Halt::Rustls(_) => TlsError::Protocol,
        };
        self.state().failure = Some(failure);
        Errno::IO
    }

    pub(super) fn past(&self, answer: Result<u64, Errno>) -> Result<Result<u64, Errno>, ErrorKind> {
        match (answer, self.state().failure) {
            (Err(Errno::IO), Some(failure)) => Err(ErrorKind::Tls(failure)),
            _ => Ok(answer),
        }
    }
}

impl State {
    /// Takes content, of records that are here or come now. `EINTR` if those that came have none:
    /// the caller asks again, and other tasks get their turn, for a peer may send nothing else.
    fn take(&mut self, socket: BorrowedFd<'_>, into: &mut [u8]) -> Result<usize, Halt> {
        let mut has_read = false;
        loop {
            match self.connection.reader().read(into) {
                Ok(n) => return Ok(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // So rustls calls an end without close_notify.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err(TlsError::CutShort.into());
                }
                Err(error) => return Err(errno_of(&error).into()),
            }
            let processed = self.connection.process_new_packets();
            // An alert, or the answer to a KeyUpdate: if there is no room it goes with what is
            // sent next.
            let (Ok(()) | Err(_)) = self.flush(socket);
            let state = processed.map_err(Halt::from)?;
            if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() {
                if has_read {
                    return Err(Errno::INTR.into());
                }
                has_read = true;
                self.connection.read_tls(&mut Wire(socket)).map_err(|e| errno_of(&e))?;
            }
        }
    }

    fn flush(&mut self, socket: BorrowedFd<'_>) -> Result<(), Errno> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut Wire(socket)).map_err(|e| errno_of(&e))?;
        }
        Ok(())
    }
}

pub(super) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// A socket that is read and written without waiting.
#[derive(Debug)]
pub(super) struct Wire<'s>(pub(super) BorrowedFd<'s>);

impl Read for Wire<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::net::recv(self.0, into, RecvFlags::DONTWAIT)?.0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let mut nothing = SendAncillaryBuffer::default();
        Ok(rustix::net::sendmsg(self.0, slices, &mut nothing, flags)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use underpass_testkit::tls::{Identity, NAME};

    use super::super::handshake::Handshake;
    use super::super::records::Records;
    use super::*;
    use crate::blocking;

    /// A server's tickets are records without content.
    #[test]
    fn records_without_content_give_the_thread_back() {
        let identity = Identity::new().unwrap();
        let kind = (&rustls::version::TLS13, "");
        let (server, client) = (identity.server(kind).unwrap(), identity.client(kind).unwrap());
        let (near, far) = UnixStream::pair().unwrap();
        let shake = |mut handshake: Handshake, socket: UnixStream| {
            while let Some(side) = handshake.step(&socket).unwrap() {
                blocking::wait(socket.as_fd(), side).unwrap();
            }
            (handshake.conclude(socket.as_fd()).unwrap().records, socket)
        };
        let serving = std::thread::spawn(move || shake(Handshake::accept(server).unwrap(), far));
        let name = NAME.try_into().unwrap();
        let (records, near) = shake(Handshake::connect(client, name).unwrap(), near);
        let (_, _far) = serving.join().unwrap();
        let Records::UserSpace(rustls) = records else { panic!("a Unix socket in the kernel") };
        let receive = || rustls.receive(near.as_fd(), &mut [0; 9]);
        let tickets = receive();
        assert!(matches!(tickets, Err(Halt::Call(Errno::INTR))), "{tickets:?}");
        let nothing = receive();
        assert!(matches!(nothing, Err(Halt::Call(Errno::AGAIN))), "{nothing:?}");
    }
}
