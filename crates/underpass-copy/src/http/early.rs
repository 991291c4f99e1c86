//! Answers that come before the server has everything: who goes on sending to one that reads no
//! more would wait for ever.
//!
//! While there is room the content goes on, for the server reads it. Interim answers (1xx) are
//! passed over, and so is what TLS has to say between its content.
//!
//! Source: RFC 9112 §9.5; RFC 9110 §15.2.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::RecvFlags;

use super::connection::{Connection, head_end};
use super::tls::Records;
use crate::interrupt::Woken;
use crate::patient::Patient;
use crate::socket;

/// An interim answer has no more.
const INTERIM_BYTES_MAX: usize = 4096;

/// Part of a head that has come is looked at again after so long, for no event tells of more.
const PAUSE: Duration = Duration::from_millis(20);

/// The server has answered, and takes no more; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("the server answered before it had everything")]
struct Answered;

/// Whether a call failed because of it.
pub(crate) fn is_answer(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Answered>)
}

/// What has come of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Nothing,
    /// The beginning of a head that may be an interim one.
    Partial,
    /// An interim head of so many bytes.
    Interim(usize),
    /// Its final head, or its end without one.
    Final,
}

impl Heard {
    /// Of what comes next; nothing is the end.
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
    /// Those of waiting; one that [`is_answer`] knows if the server answers instead.
    pub(crate) fn wait_for_room(&self) -> io::Result<()> {
        loop {
            if is_room(self.socket())? {
                return Ok(());
            }
            go_on(self.look()?, self.socket())?;
        }
    }

    /// Looks at what has come, which stays there unless it is an interim head.
    fn look(&self) -> io::Result<Heard> {
        let mut block = [0; INTERIM_BYTES_MAX];
        let patient = self.socket();
        loop {
            let looked = if let Self::Tls { secured, .. } = self {
                secured.peek(&mut block)
            } else {
                let looked = rustix::net::recv(&patient.fd, &mut block[..], RecvFlags::PEEK);
                looked.map(|(n, _)| n).map_err(io::Error::from)
            };
            let heard = match looked {
                Ok(n) => Heard::of(&block[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::Nothing,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let Heard::Interim(len) = heard else { return Ok(heard) };
            if let Self::Tls { secured, .. } = self {
                Records(secured).read_exact(&mut block[..len])?;
            } else {
                let mut patient = Patient::new(patient.fd.as_fd(), patient.interrupt);
                patient.read_exact(&mut block[..len])?;
            }
        }
    }
}

/// Waits until there is room, or the server has said something.
fn is_room(patient: &Patient<'_>) -> io::Result<bool> {
    patient.wait(PollFlags::OUT | PollFlags::IN)?;
    let now = Some(Instant::now());
    let woken = patient.interrupt.wait(&[(patient.fd.as_fd(), PollFlags::OUT)], now);
    Ok(woken? != Woken::Due)
}

fn go_on(heard: Heard, patient: &Patient<'_>) -> io::Result<()> {
    match heard {
        Heard::Nothing | Heard::Interim(_) => Ok(()),
        Heard::Partial => {
            let room = (patient.fd.as_fd(), PollFlags::OUT);
            match patient.interrupt.wait(&[room], Some(Instant::now() + PAUSE))? {
                Woken::Signal => Err(socket::interrupted()),
                Woken::Ready | Woken::Due => Ok(()),
            }
        }
        Heard::Final => Err(io::Error::other(Answered)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interim_head_is_told_from_the_final_one_as_soon_as_it_shows() {
        for (start, heard) in [
            (&b""[..], Heard::Final),
            (b"H", Heard::Partial),
            (b"HTTP/1.1 1", Heard::Partial),
            (b"HTTP/1.1 100 Continue\r\n\r", Heard::Partial),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Heard::Interim(25)),
            (b"HTTP/1.0 103 x\r\nLink: y\r\n\r\nHTTP/1.1 413", Heard::Interim(27)),
            (b"HTTP/1.1 4", Heard::Final),
            (b"HTTQ", Heard::Final),
            (&[b"HTTP/1.1 100 ".as_slice(), &[b'a'; 4083]].concat(), Heard::Final),
        ] {
            assert_eq!(Heard::of(start), heard, "{}", start.escape_ascii());
        }
    }
}
