//! Connected streams of every kind, and threads at their far ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};

/// A kind of stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// TCP over loopback.
    Tcp,
    /// A Unix stream socket.
    Unix,
    /// A pipe of the default size.
    Pipe,
    /// A pipe of one page: the sink that takes least at a time, so that what a method leaves
    /// behind in between shows.
    TinyPipe,
}

impl Way {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Unix, Self::Pipe, Self::TinyPipe];

    /// Connects a writing end to a reading end, both blocking.
    ///
    /// # Errors
    ///
    /// Those of the calls that make it.
    pub fn connect(self) -> io::Result<(OwnedFd, OwnedFd)> {
        match self {
            Self::Tcp => {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let write = TcpStream::connect(listener.local_addr()?)?;
                write.set_nodelay(true)?;
                Ok((write.into(), listener.accept()?.0.into()))
            }
            Self::Unix => UnixStream::pair().map(|(write, read)| (write.into(), read.into())),
            Self::Pipe | Self::TinyPipe => {
                let (read, write) = io::pipe()?;
                if self == Self::TinyPipe {
                    rustix::pipe::fcntl_setpipe_size(&write, 4096)?;
                }
                Ok((write.into(), read.into()))
            }
        }
    }

    /// As [`Way::connect`], for what must become full: the buffers of a TCP socket grow by
    /// themselves, up to 32 MiB.
    ///
    /// # Errors
    ///
    /// Those of [`Way::connect`], and of setsockopt(2).
    pub fn connect_small(self) -> io::Result<(OwnedFd, OwnedFd)> {
        let ends = self.connect()?;
        if matches!(self, Self::Tcp | Self::Unix) {
            set_socket_send_buffer_size(&ends.0, SMALL_BYTES)?;
            set_socket_recv_buffer_size(&ends.1, SMALL_BYTES)?;
        }
        Ok(ends)
    }
}

/// What [`Way::connect_small`] lets each end of a socket hold; the kernel doubles it.
const SMALL_BYTES: usize = 1 << 16;

/// Sets or clears `O_NONBLOCK`.
///
/// # Errors
///
/// Those of fcntl(2).
pub fn set_nonblocking(fd: &OwnedFd, nonblocking: bool) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(fd, nonblocking)?)
}

/// Closes the reading end, and waits until the writing end knows. A process that another test
/// starts holds a copy of every descriptor between its fork(2) and its execve(2), and until then
/// the stream would take more.
///
/// # Errors
///
/// Those of poll(2).
pub fn leave(read: OwnedFd, write: &OwnedFd) -> io::Result<()> {
    drop(read);
    let mut end = [PollFd::new(write, PollFlags::empty())];
    while !end[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) {
        poll(&mut end, None)?;
    }
    Ok(())
}

/// A thread that reads a stream to its end.
#[must_use]
pub fn collect(read: OwnedFd) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut got = Vec::new();
        // A reset ends the stream too: what came before it is what counts.
        match File::from(read).read_to_end(&mut got) {
            Ok(_) => Ok(got),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(got),
            Err(error) => Err(error),
        }
    })
}

/// A thread that writes `bytes` to a stream and closes it.
#[must_use]
pub fn feed(write: OwnedFd, bytes: Vec<u8>) -> JoinHandle<io::Result<()>> {
    thread::spawn(move || File::from(write).write_all(&bytes))
}
