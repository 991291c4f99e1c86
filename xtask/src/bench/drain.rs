//! The reading ends of the transfer bench: they take what comes and cost the sender nothing.
//!
//! A reader runs in a thread of its own on the other CPU. TCP is discarded in the kernel
//! (`MSG_TRUNC`), a pipe is spliced to /dev/null; a Unix socket knows neither and is read. For
//! the one checked transfer everything is read and kept.
//!
//! Source: tcp(7), `MSG_TRUNC`; splice(2).

use std::fs::File;
use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::net::RecvFlags;
use rustix::pipe::SpliceFlags;

use super::cpu;

/// Room of one reading call.
const CALL_BYTES: usize = 1 << 20;

/// Kinds of sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    Tcp,
    Unix,
    Pipe,
    File,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Unix => "unix",
            Self::Pipe => "pipe",
            Self::File => "file",
        }
    }
}

/// What a reader does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Discard,
    Keep,
}

/// A running reader. Ends with its stream.
#[derive(Debug)]
pub(crate) struct Reader(JoinHandle<io::Result<Vec<u8>>>);

impl Reader {
    /// Waits for the end of the stream and returns what was kept.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        let end = self.0.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
        end.context("the reader failed")
    }
}

/// Opens a stream whose other end is read, and the reader.
pub(crate) fn tcp(reading: Reading) -> Result<(TcpStream, Reader)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let sender = TcpStream::connect(listener.local_addr()?)?;
    sender.set_nodelay(true)?;
    let (receiver, _) = listener.accept()?;
    Ok((sender, start(receiver, reading, discard_tcp)))
}

/// Opens a port that accepts one connection and reads it, for a sender in another process.
pub(crate) fn port() -> Result<(u16, Reader)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let accept_and_discard = |listener: &mut TcpListener| discard_tcp(&mut listener.accept()?.0);
    let reader = std::thread::spawn(move || on_reading_cpu(listener, accept_and_discard));
    Ok((port, Reader(reader)))
}

/// As [`tcp`], over a pair of Unix sockets.
pub(crate) fn unix(reading: Reading) -> Result<(UnixStream, Reader)> {
    let (sender, receiver) = UnixStream::pair()?;
    Ok((sender, start(receiver, reading, discard_reading)))
}

/// As [`tcp`], over a pipe.
pub(crate) fn pipe(reading: Reading) -> Result<(OwnedFd, Reader)> {
    let (receiver, sender) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    rustix::pipe::fcntl_setpipe_size(&sender, CALL_BYTES)?;
    Ok((sender, start(File::from(receiver), reading, discard_pipe)))
}

fn start<R: Read + Send + 'static>(
    receiver: R,
    reading: Reading,
    discard: fn(&mut R) -> io::Result<Vec<u8>>,
) -> Reader {
    let read = if reading == Reading::Keep { keep } else { discard };
    Reader(std::thread::spawn(move || on_reading_cpu(receiver, read)))
}

fn on_reading_cpu<R>(
    mut receiver: R,
    read: impl FnOnce(&mut R) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<u8>> {
    cpu::pin_here(cpu::ASKING).map_err(io::Error::other)?;
    read(&mut receiver)
}

fn keep<R: Read>(receiver: &mut R) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    receiver.read_to_end(&mut kept)?;
    Ok(kept)
}

fn discard_reading<R: Read>(receiver: &mut R) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; CALL_BYTES];
    while receiver.read(&mut buffer)? > 0 {}
    Ok(Vec::new())
}

fn discard_tcp(receiver: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; CALL_BYTES];
    while rustix::net::recv(&*receiver, &mut buffer, RecvFlags::TRUNC)?.1 > 0 {}
    Ok(Vec::new())
}

fn discard_pipe(receiver: &mut File) -> io::Result<Vec<u8>> {
    let null = File::options().write(true).open("/dev/null")?;
    let flags = SpliceFlags::MOVE;
    while rustix::pipe::splice(&*receiver, None, &null, None, CALL_BYTES, flags)? > 0 {}
    Ok(Vec::new())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_keeping_reader_returns_every_byte_and_a_discarding_one_none() {
        for (reading, kept) in [(Reading::Keep, &b"abc"[..]), (Reading::Discard, b"")] {
            let (mut sender, reader) = tcp(reading).unwrap();
            sender.write_all(b"abc").unwrap();
            drop(sender);
            assert_eq!(reader.finish().unwrap(), kept);
            let (mut sender, reader) = unix(reading).unwrap();
            sender.write_all(b"abc").unwrap();
            drop(sender);
            assert_eq!(reader.finish().unwrap(), kept);
            let (sender, reader) = pipe(reading).unwrap();
            File::from(sender).write_all(b"abc").unwrap();
            assert_eq!(reader.finish().unwrap(), kept);
        }
    }
}
