//! The reading ends: they take what comes and cost the sender nothing.
//!
//! A reader runs on the other CPU. TCP is discarded in the kernel (`MSG_TRUNC`), a pipe is spliced
//! to /dev/null; a Unix socket can do neither and is read. For the one checked transfer everything
//! is read and kept.
//!
//! TCP is discarded in a process apart from the sender's, as it is for the C loops: a thread of the
//! sender's own process made 1 MiB cost the sender a fifth more CPU.
//!
//! Source: tcp(7), `MSG_TRUNC`; splice(2).

use std::fs::File;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, Result};
use rustix::io::retry_on_intr;
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

/// What a reader does with what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    Discard,
    Keep,
}

/// A running reader. Ends with its stream.
#[derive(Debug)]
pub(crate) enum Reader {
    Thread(JoinHandle<io::Result<(u64, Vec<u8>)>>),
    Process(Child),
}

impl Reader {
    /// Waits for the end of the stream; returns how many bytes came, and those that were kept.
    pub(crate) fn finish(self) -> Result<(u64, Vec<u8>)> {
        match self {
            Self::Thread(thread) => {
                let end = thread.join().map_err(|_| anyhow::anyhow!("the reader panicked"))?;
                end.context("the reader failed")
            }
            Self::Process(child) => {
                let printed = String::from_utf8(child.wait_with_output()?.stdout)?;
                Ok((printed.trim().parse().context("the reader failed")?, Vec::new()))
            }
        }
    }
}

/// What a reader in a separate process does: discards standard input, a TCP connection, and
/// prints how many bytes came.
pub(crate) fn discard_standard_input() -> Result<()> {
    cpu::pin_here(cpu::ASKING)?;
    println!("{}", discard(io::stdin())?);
    Ok(())
}

/// Opens a stream whose other end is read, and the reader; `None` for a file.
pub(crate) fn open(kind: Kind, reading: Reading) -> Result<Option<(OwnedFd, Reader)>> {
    let (sender, receiver): (OwnedFd, OwnedFd) = match kind {
        Kind::File => return Ok(None),
        Kind::Tcp => {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let sender = TcpStream::connect(listener.local_addr()?)?;
            sender.set_nodelay(true)?;
            (sender.into(), listener.accept()?.0.into())
        }
        Kind::Unix => {
            let (sender, receiver) = UnixStream::pair()?;
            (sender.into(), receiver.into())
        }
        Kind::Pipe => {
            let (receiver, sender) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
            rustix::pipe::fcntl_setpipe_size(&sender, CALL_BYTES)?;
            (sender, receiver)
        }
    };
    let reader = match (kind, reading) {
        (Kind::Tcp, Reading::Discard) => {
            let mut command = Command::new(std::env::current_exe()?);
            let command = command.arg("discard").stdin(receiver).stdout(Stdio::piped());
            Reader::Process(command.spawn()?)
        }
        _ => start(move || read(receiver, kind, reading)),
    };
    Ok(Some((sender, reader)))
}

/// Opens a port that accepts one connection and reads it, for a sender in another process.
pub(crate) fn port(reading: Reading) -> Result<(SocketAddr, Reader)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let accept_and_read = move || read(listener.accept()?.0.into(), Kind::Tcp, reading);
    Ok((address, start(accept_and_read)))
}

fn start(read: impl FnOnce() -> io::Result<(u64, Vec<u8>)> + Send + 'static) -> Reader {
    Reader::Thread(std::thread::spawn(move || {
        cpu::pin_here(cpu::ASKING).map_err(io::Error::other)?;
        read()
    }))
}

fn read(receiver: OwnedFd, kind: Kind, reading: Reading) -> io::Result<(u64, Vec<u8>)> {
    if reading == Reading::Keep {
        let mut kept = Vec::new();
        File::from(receiver).read_to_end(&mut kept)?;
        return Ok((kept.len() as u64, kept));
    }
    let came = match kind {
        Kind::Tcp => discard(&receiver)?,
        Kind::Pipe => {
            let null = File::options().write(true).open("/dev/null")?;
            let splice = || {
                rustix::pipe::splice(&receiver, None, &null, None, CALL_BYTES, SpliceFlags::MOVE)
            };
            sum_until_zero(splice)?
        }
        Kind::Unix | Kind::File => {
            let mut room = vec![0; CALL_BYTES];
            sum_until_zero(|| rustix::io::read(&receiver, &mut room))?
        }
    };
    Ok((came, Vec::new()))
}

/// Discards in the kernel what a TCP connection sends; returns how many bytes came.
pub(crate) fn discard(socket: impl AsFd) -> io::Result<u64> {
    let mut room = vec![0; CALL_BYTES];
    let flags = RecvFlags::TRUNC;
    sum_until_zero(|| rustix::net::recv(&socket, room.as_mut_slice(), flags).map(|(_, n)| n))
}

fn sum_until_zero(mut call: impl FnMut() -> rustix::io::Result<usize>) -> io::Result<u64> {
    let mut sum = 0;
    loop {
        match retry_on_intr(&mut call)? {
            0 => return Ok(sum),
            n => sum += n as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_keeping_reader_returns_every_byte_and_a_discarding_one_counts_them() {
        let (tcp, others) = (Kind::Tcp, [Kind::Unix, Kind::Pipe]);
        for (reading, kept) in [(Reading::Keep, &b"abc"[..]), (Reading::Discard, b"")] {
            // A test's program cannot be the process that discards TCP: the bench checks its count.
            for kind in others.into_iter().chain((reading == Reading::Keep).then_some(tcp)) {
                let (sender, reader) = open(kind, reading).unwrap().unwrap();
                File::from(sender).write_all(b"abc").unwrap();
                assert_eq!(reader.finish().unwrap(), (3, kept.to_vec()), "{kind:?}");
            }
        }
    }
}
