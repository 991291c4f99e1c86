//! Answers that come before the server has everything. A server that has answered may read no more,
//! and sending to it would wait for ever.
//!
//! While there is room, sending continues, since the server still reads. Interim answers (1xx) are
//! skipped, and so are TLS records that are not content.
//!
//! Source: RFC 9112 §9.5; RFC 9110 §15.2.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use crate::connection::Connection;
use crate::head::head_end;
use crate::interrupt::{Woken, interrupted};
use crate::waiting::WaitingStream;

/// The most bytes of an interim answer.
const INTERIM_BYTES_MAX: usize = 4096;

/// How long until an incomplete head is looked at again: no event announces the rest of it.
const PAUSE: Duration = Duration::from_millis(20);

/// The server has answered early; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the server answered before it had everything")]
struct Answered;

/// Whether a call failed because the server answered early.
#[must_use]
pub fn is_answer(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Answered>)
}

/// What has arrived of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrived {
    Nothing,
    /// The beginning of a head, perhaps an interim one.
    Partial,
    /// An interim head of this many bytes.
    Interim(usize),
    /// The final head, or the end without a head.
    Final,
}

impl Arrived {
    /// What these bytes are; no bytes means the end.
    fn of(start: &[u8]) -> Self {
        let is_interim = start.iter().zip(b"HTTP/1.# 1").all(|(a, b)| a == b || *b == b'#');
        if !is_interim || start.is_empty() || start.len() >= INTERIM_BYTES_MAX {
            return Self::Final;
        }
        head_end(start, 0).map_or(Self::Partial, Self::Interim)
    }
}

impl Connection<'_> {
    /// Waits until there is room for content.
    ///
    /// # Errors
    ///
    /// Those of waiting; one that [`is_answer`] recognises if the server answers instead.
    pub fn wait_for_room(&self) -> io::Result<()> {
        loop {
            if is_room(self.socket())? {
                return Ok(());
            }
            check(self.look()?, self.socket())?;
        }
    }

    /// Looks at what has come, which stays there unless it is an interim head.
    fn look(&self) -> io::Result<Arrived> {
        let mut block = [0; INTERIM_BYTES_MAX];
        loop {
            let arrived = match self.peek_now(&mut block) {
                Ok(n) => Arrived::of(&block[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Arrived::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let Arrived::Interim(len) = arrived else { return Ok(arrived) };
            (&mut &*self).read_exact(&mut block[..len])?;
        }
    }
}

/// Waits until there is room, or the server has said something.
fn is_room(socket: &WaitingStream<'_>) -> io::Result<bool> {
    socket.wait(PollFlags::OUT | PollFlags::IN)?;
    let now = Some(Instant::now());
    let woken = socket.interrupt.wait(&[(socket.fd.as_fd(), PollFlags::OUT)], now);
    Ok(woken? != Woken::Due)
}

fn check(arrived: Arrived, socket: &WaitingStream<'_>) -> io::Result<()> {
    match arrived {
        Arrived::Nothing | Arrived::Interim(_) => Ok(()),
        Arrived::Partial => {
            let room = (socket.fd.as_fd(), PollFlags::OUT);
            match socket.interrupt.wait(&[room], Some(Instant::now() + PAUSE))? {
                Woken::Signal => Err(interrupted()),
                Woken::Ready | Woken::Due => Ok(()),
            }
        }
        Arrived::Final => Err(io::Error::other(Answered)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_head_is_distinguished_from_the_final_one_at_once() {
        for (start, arrived) in [
            (&b""[..], Arrived::Final),
            (b"H", Arrived::Partial),
            (b"HTTP/1.1 1", Arrived::Partial),
            (b"HTTP/1.1 100 Continue\r\n\r", Arrived::Partial),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Arrived::Interim(25)),
            (b"HTTP/1.0 103 x\r\nLink: y\r\n\r\nHTTP/1.1 413", Arrived::Interim(27)),
            (b"HTTP/1.1 4", Arrived::Final),
            (b"HTTQ", Arrived::Final),
            (&[b"HTTP/1.1 100 ".as_slice(), &[b'a'; 4083]].concat(), Arrived::Final),
        ] {
            assert_eq!(Arrived::of(start), arrived, "{}", start.escape_ascii());
        }
    }
}
