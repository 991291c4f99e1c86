//! What the ends of an exchange say before and between its parts, and to which transfer a
//! connection belongs.
//!
//! The receiver greets first: a sender that hears nothing has sent nothing either, so a peer that
//! knows no such exchange gets no byte that it would take for content. Who connects names the
//! transfer, and the same on each of its connections; a receiver that listens greets with a name
//! of zeros.
//!
//! ```text
//! "underpass-verify 2\n", transfer [16]   a transfer begins
//! "underpass-joined 2\n", transfer [16]   one more connection of it
//! "underpass-queued 2\n"                  others come first; wait for the next word
//! "underpass-refuse 2\n"                  nobody else is served now
//! ```

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::event::PollFlags;

use crate::carry::failed;
use crate::drive::{Drive, Stop};
use crate::interrupt::Woken;
use crate::patient::Patient;
use crate::socket;

/// The other end may take so long to say a word.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Which version of the exchange this is.
const VERSION: u8 = b'2';

const WORD_BYTES: usize = 19;

/// A word; all have one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A transfer begins; its name follows.
    Begins,
    /// One more connection of it; its name follows.
    Joins,
    /// The listening end serves others first.
    Queued,
    /// The listening end serves nobody else.
    Refused,
    /// The receiver has nothing yet, or the sender sends the whole over this connection.
    Whole,
    /// As [`Word::Whole`], and the receiver takes no further connections.
    Single,
    /// The sender sends a range over this connection, see [`shares`](crate::shares).
    Ranges,
    /// The receiver has some of it.
    Resume,
    /// The sender has something else.
    Differs,
}

impl Word {
    const ALL: [Self; 9] = [
        Self::Begins,
        Self::Joins,
        Self::Queued,
        Self::Refused,
        Self::Whole,
        Self::Single,
        Self::Ranges,
        Self::Resume,
        Self::Differs,
    ];

    pub(crate) const fn bytes(self) -> &'static [u8; WORD_BYTES] {
        match self {
            Self::Begins => b"underpass-verify 2\n",
            Self::Joins => b"underpass-joined 2\n",
            Self::Queued => b"underpass-queued 2\n",
            Self::Refused => b"underpass-refuse 2\n",
            Self::Whole => b"underpass-entire 2\n",
            Self::Single => b"underpass-single 2\n",
            Self::Ranges => b"underpass-ranges 2\n",
            Self::Resume => b"underpass-resume 2\n",
            Self::Differs => b"underpass-differ 2\n",
        }
    }

    /// What another end may know by this.
    fn of(bytes: &[u8; WORD_BYTES]) -> Result<Self, Misheard> {
        if let Some(word) = Self::ALL.into_iter().find(|word| word.bytes() == bytes) {
            return Ok(word);
        }
        match bytes {
            [start @ .., b' ', version, b'\n']
                if start.starts_with(b"underpass-") && version.is_ascii_digit() =>
            {
                Err(Misheard::Version(char::from(*version)))
            }
            _ => Err(Misheard::Other),
        }
    }
}

/// What is no word of this exchange; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
enum Misheard {
    #[error("it says something else; is it underpass copy --verify?")]
    Other,
    #[error(
        "it speaks version {0} of the exchange and this end version {ours}; run the same underpass \
         at both ends",
        ours = char::from(VERSION)
    )]
    Version(char),
    #[error("it says nothing; is it underpass copy --verify?")]
    Nothing,
    #[error("it closed before the transfer began; see what it says, and whether it is as new")]
    Closed,
    #[error(
        "it serves others and has no place for one more; copy again later, or start it with \
         --keep-listening"
    )]
    Refused,
    #[error("its connections are of different transfers")]
    Mixed,
}

impl From<Misheard> for io::Error {
    fn from(misheard: Misheard) -> Self {
        Self::new(io::ErrorKind::InvalidData, misheard)
    }
}

/// What tells a transfer from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransferId([u8; 16]);

impl TransferId {
    /// One that nobody else has.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
        Ok(Self(bytes))
    }
}

/// Greets; without a name where the other end is to give it.
pub(crate) fn greet(to: &mut impl Write, word: Word, id: Option<TransferId>) -> io::Result<()> {
    let TransferId(name) = id.unwrap_or(TransferId([0; 16]));
    to.write_all(&[word.bytes(), &name[..]].concat())
}

/// Hears a greeting: whether it begins a transfer or joins one, and which.
pub(crate) fn hear_greeting<F: AsFd>(
    peer: &mut Patient<'_, F>,
) -> io::Result<(Word, Option<TransferId>)> {
    let word = hear(peer, true)?;
    hear_name(peer, word)
}

fn hear_name<F: AsFd>(
    peer: &mut Patient<'_, F>,
    word: Word,
) -> io::Result<(Word, Option<TransferId>)> {
    if !matches!(word, Word::Begins | Word::Joins) {
        return Err(Misheard::Other.into());
    }
    let mut name = [0; 16];
    read(peer, &mut name)?;
    Ok((word, (name != [0; 16]).then_some(TransferId(name))))
}

/// Hears that the other end goes on with the transfer of this name, when it is this end's turn.
pub(crate) fn hear_echo<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut Patient<'_, F>,
    id: TransferId,
) -> Result<(), Stop> {
    let word = hear_in_turn(drive, peer)?;
    match hear_name(peer, word) {
        Ok((_, Some(theirs))) if theirs == id => Ok(()),
        Ok(_) => Err(unheard(drive, Misheard::Mixed.into())),
        Err(error) => Err(unheard(drive, error)),
    }
}

/// Hears the next word, when it is this end's turn.
pub(crate) fn hear_in_turn<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut Patient<'_, F>,
) -> Result<Word, Stop> {
    let word = match hear(peer, true) {
        Ok(Word::Queued) => {
            drive.note("the other end serves others first; waiting for its turn");
            hear(peer, false)
        }
        word => word,
    };
    word.map_err(|error| unheard(drive, error))
}

/// What ends an exchange whose beginning fails.
pub(crate) fn unheard(drive: &Drive<'_>, error: io::Error) -> Stop {
    failed(drive, "agreeing with the other end", error)
}

/// Hears one word, which may begin late only where the other end has said so.
fn hear<F: AsFd>(peer: &mut Patient<'_, F>, is_prompt: bool) -> io::Result<Word> {
    let until = is_prompt.then(|| Instant::now() + PATIENCE);
    match peer.interrupt.wait(&[(peer.fd.as_fd(), PollFlags::IN)], until)? {
        Woken::Ready => {}
        Woken::Signal => return Err(socket::interrupted()),
        Woken::Due => return Err(Misheard::Nothing.into()),
    }
    let mut bytes = [0; WORD_BYTES];
    read(peer, &mut bytes)?;
    let word = Word::of(&bytes)?;
    if word == Word::Refused { Err(Misheard::Refused.into()) } else { Ok(word) }
}

fn read<F: AsFd>(peer: &mut Patient<'_, F>, bytes: &mut [u8]) -> io::Result<()> {
    peer.must_end("the greeting", Some(PATIENCE));
    let read = peer.read_exact(bytes);
    peer.may_last();
    let is_end =
        |kind| [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&kind);
    read.map_err(|error| if is_end(error.kind()) { Misheard::Closed.into() } else { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_from_those_of_other_versions_and_from_anything_else() {
        let of = |bytes: &[u8; WORD_BYTES]| Word::of(bytes).map_err(|error| error.to_string());
        assert_eq!(of(b"underpass-verify 2\n"), Ok(Word::Begins));
        assert_eq!(
            of(b"underpass-verify 1\n").unwrap_err(),
            "it speaks version 1 of the exchange and this end version 2; run the same underpass \
             at both ends"
        );
        for other in [b"HTTP/1.1 400 Bad Re", b"underpass-verify x\n", b"underpass-noword 2 "] {
            assert!(of(other).unwrap_err().starts_with("it says something else"));
        }
    }
}
