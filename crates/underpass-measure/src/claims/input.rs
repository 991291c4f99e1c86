//! What sendfile(2) takes as its input: each kind of descriptor is tried.
//!
//! Since Linux 5.12 a sendfile into a pipe is a splice(2), which takes bytes from sockets and
//! pipes too; into anything else the input must be seekable.
//!
//! Source: sendfile(2), NOTES.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::MemfdFlags;
use rustix::io::Errno;

use crate::claims::rig::Rig;
use crate::claims::{Diary, Shown, Unit, Verdict};

/// Bytes that every input has to offer.
const OFFERED: &[u8; 100] = &[7; 100];

/// One input, tried with two kinds of output.
struct Tried {
    name: &'static str,
    is_file: bool,
    into_socket: Result<usize, Errno>,
    into_pipe: Result<usize, Errno>,
}

pub(super) fn measure(rig: &Rig<'_>) -> io::Result<Shown> {
    let tried = [
        tried("a file on disk", true, || Ok((rig.specimen.file.try_clone()?.into(), None)))?,
        tried("a memfd", true, || {
            let memory = rustix::fs::memfd_create("underpass", MemfdFlags::CLOEXEC)?;
            File::from(memory.try_clone()?).write_all(OFFERED)?;
            Ok((memory, None))
        })?,
        tried("a TCP socket", false, tcp)?,
        tried("a Unix socket", false, || {
            let (mut near, far) = UnixStream::pair()?;
            near.write_all(OFFERED)?;
            Ok((far.into(), Some(near.into())))
        })?,
        tried("a pipe", false, || {
            let (read, mut write) = io::pipe()?;
            write.write_all(OFFERED)?;
            Ok((read.into(), Some(write.into())))
        })?,
    ];
    let mut diary = Diary::default();
    for tried in &tried {
        for (sink, answer) in [("a socket", tried.into_socket), ("a pipe", tried.into_pipe)] {
            let what = format!("from {} to {sink}", tried.name);
            match answer {
                Ok(bytes) => diary.count(what, bytes as u64, Unit::Bytes),
                Err(errno) => diary.answer(what, name(errno)),
            }
        }
    }
    Ok(diary.shown(
        judge(&tried),
        "sendfile reads its input by offset, so it wants one that has offsets, and refuses sockets \
         and pipes. Into a pipe it is a splice since Linux 5.12, for which a socket will do. From \
         socket to socket there is splice through a pipe.",
    ))
}

/// An input with [`OFFERED`] in it, and what must stay open for it.
type Input = (OwnedFd, Option<OwnedFd>);

fn tried(
    name: &'static str,
    is_file: bool,
    input: impl Fn() -> io::Result<Input>,
) -> io::Result<Tried> {
    let (socket, _peer) = UnixStream::pair()?;
    let (_read, pipe) = io::pipe()?;
    Ok(Tried {
        name,
        is_file,
        into_socket: attempt(socket.as_fd(), &input()?, is_file),
        into_pipe: attempt(pipe.as_fd(), &input()?, is_file),
    })
}

fn attempt(sink: BorrowedFd<'_>, (input, _kept): &Input, is_file: bool) -> Result<usize, Errno> {
    let mut start = 0;
    let offset = is_file.then_some(&mut start);
    rustix::fs::sendfile(sink, input, offset, OFFERED.len())
}

fn tcp() -> io::Result<Input> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.write_all(OFFERED)?;
    // The bytes are there once they can be seen.
    far.peek(&mut [0])?;
    Ok((far.into(), Some(near.into())))
}

fn name(errno: Errno) -> String {
    match errno {
        Errno::INVAL => "EINVAL".to_owned(),
        Errno::SPIPE => "ESPIPE".to_owned(),
        errno => errno.to_string(),
    }
}

fn judge(tried: &[Tried]) -> Verdict {
    let (files, others): (Vec<_>, Vec<_>) = tried.iter().partition(|tried| tried.is_file);
    if files.iter().any(|tried| tried.into_socket.is_err()) {
        return Verdict::Unavailable("sendfile refuses even files here".into());
    }
    if others.iter().any(|tried| tried.into_socket.is_ok()) {
        return Verdict::DoesNotHold;
    }
    let taken = others.iter().filter(|tried| tried.into_pipe.is_ok()).map(|tried| tried.name);
    let taken: Vec<&str> = taken.collect();
    if taken.is_empty() {
        return Verdict::Holds;
    }
    let condition =
        format!("the output is not a pipe; into a pipe it takes {}", taken.join(" and "));
    Verdict::HoldsIf(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        is_file: bool,
        into_socket: Result<usize, Errno>,
        into_pipe: Result<usize, Errno>,
    ) -> Tried {
        Tried { name: "a TCP socket", is_file, into_socket, into_pipe }
    }

    #[test]
    fn a_pipe_as_output_makes_the_difference() {
        let file = || of(true, Ok(100), Ok(100));
        let refused = Err(Errno::INVAL);
        assert_eq!(judge(&[file(), of(false, refused, refused)]), Verdict::Holds);
        let verdict = judge(&[file(), of(false, refused, Ok(100))]);
        let Verdict::HoldsIf(condition) = verdict else { panic!("{verdict:?}") };
        assert_eq!(condition, "the output is not a pipe; into a pipe it takes a TCP socket");
        assert_eq!(judge(&[file(), of(false, Ok(100), Ok(100))]), Verdict::DoesNotHold);
        let verdict = judge(&[of(true, refused, refused)]);
        assert!(matches!(verdict, Verdict::Unavailable(_)), "{verdict:?}");
    }

    #[test]
    fn a_refusal_is_shown_by_the_name_of_its_errno() {
        assert_eq!(name(Errno::INVAL), "EINVAL");
    }
}
