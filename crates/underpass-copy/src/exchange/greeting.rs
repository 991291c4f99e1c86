//! The words that the two ends of an exchange say before and between its parts, and how a
//! connection says which transfer it belongs to.
//!
//! The receiver greets first. A sender that reads no greeting sends nothing, so a peer that does
//! not know the exchange gets no byte that it could take for content. The end that connects names
//! the transfer, with the same name on each of its connections; a receiver that listens greets with
//! a name of zeros.
//!
//! ```text
//! "underpass-verify 2\n", transfer [16]   a transfer begins
//! "underpass-joined 2\n", transfer [16]   one more connection of it
//! "underpass-queued 2\n"                  others are first; wait for the next word
//! "underpass-refuse 2\n"                  no one else is served now
//! ```

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use rustix::event::PollFlags;
use underpass_client::{WaitingStream, Woken, interrupted};

use crate::drive::Drive;
use crate::stop::Stop;

/// How long the other end may take to say a word.
pub(crate) const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of the exchange.
const VERSION: u8 = b'2';

const WORD_BYTES: usize = 19;

/// A word; all have the same length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// A transfer begins; its name follows.
    Begins,
    /// One more connection of it; its name follows.
    Joins,
    /// The listening end serves others first; wait.
    Queued,
    /// The listening end serves no one else.
    Refused,
    /// The receiver has nothing yet, or the sender sends everything over this connection.
    Whole,
    /// As [`Word::Whole`], and the receiver takes no further connections.
    Single,
    /// The sender sends a range over this connection, see [`shares`](super::shares).
    Ranges,
    /// The receiver already has some of the file.
    Resume,
    /// The sender's file is not what the receiver has.
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

    /// The word that these bytes are.
    fn of(bytes: &[u8; WORD_BYTES]) -> Result<Self, GreetingError> {
        if let Some(word) = Self::ALL.into_iter().find(|word| word.bytes() == bytes) {
            return Ok(word);
        }
        match bytes {
            [start @ .., b' ', version, b'\n']
                if start.starts_with(b"underpass-") && version.is_ascii_digit() =>
            {
                Err(GreetingError::Version(char::from(*version)))
            }
            _ => Err(GreetingError::Other),
        }
    }
}

/// Why a greeting failed; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("it sent something else than a greeting; is it underpass copy --verify?")]
    Other,
    #[error(
        "it speaks version {0} of the exchange and this end version {ours}; run the same underpass \
         at both ends",
        ours = char::from(VERSION)
    )]
    Version(char),
    #[error("it sent no greeting; is it underpass copy --verify?")]
    Nothing,
    #[error("it closed before the transfer began; see its messages, and whether it is as new")]
    Closed,
    #[error(
        "it serves others and has no room for one more; copy again later, or start it with \
         --keep-listening"
    )]
    Refused,
    #[error("its connections belong to different transfers")]
    Mixed,
}

impl From<GreetingError> for io::Error {
    fn from(error: GreetingError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The name of a transfer, random and so unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TransferId([u8; 16]);

impl TransferId {
    /// A new one.
    pub(crate) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
        Ok(Self(bytes))
    }
}

/// Sends a greeting; without a name if the other end gives it.
pub(crate) fn greet(to: &mut impl Write, word: Word, id: Option<TransferId>) -> io::Result<()> {
    let TransferId(name) = id.unwrap_or(TransferId([0; 16]));
    to.write_all(&[word.bytes(), &name[..]].concat())
}

/// Reads a greeting: whether it begins a transfer or joins one, and which.
pub(crate) fn read_greeting<F: AsFd>(
    peer: &mut WaitingStream<'_, F>,
) -> io::Result<(Word, Option<TransferId>)> {
    let word = read_word(peer, true)?;
    read_name(peer, word)
}

fn read_name<F: AsFd>(
    peer: &mut WaitingStream<'_, F>,
    word: Word,
) -> io::Result<(Word, Option<TransferId>)> {
    if !matches!(word, Word::Begins | Word::Joins) {
        return Err(GreetingError::Other.into());
    }
    let mut name = [0; 16];
    read(peer, &mut name)?;
    Ok((word, (name != [0; 16]).then_some(TransferId(name))))
}

/// Waits for its turn, and for the other end to name the same transfer.
pub(crate) fn read_echo<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut WaitingStream<'_, F>,
    id: TransferId,
) -> Result<(), Stop> {
    let word = read_word_in_turn(drive, peer)?;
    match read_name(peer, word) {
        Ok((_, Some(theirs))) if theirs == id => Ok(()),
        Ok(_) => Err(greeting_failed(GreetingError::Mixed.into())),
        Err(error) => Err(greeting_failed(error)),
    }
}

/// Reads the next word, after waiting for its turn.
pub(crate) fn read_word_in_turn<F: AsFd>(
    drive: &mut Drive<'_>,
    peer: &mut WaitingStream<'_, F>,
) -> Result<Word, Stop> {
    let word = match read_word(peer, true) {
        Ok(Word::Queued) => {
            drive.note("the other end serves others first; waiting");
            read_word(peer, false)
        }
        word => word,
    };
    word.map_err(greeting_failed)
}

/// The reason to stop when the beginning of an exchange fails.
pub(crate) fn greeting_failed(error: io::Error) -> Stop {
    Stop::call("greeting the other end", error)
}

/// Reads one word; without a time limit only after the other end has said [`Word::Queued`].
fn read_word<F: AsFd>(peer: &mut WaitingStream<'_, F>, is_prompt: bool) -> io::Result<Word> {
    let until = is_prompt.then(|| Instant::now() + GREETING_TIMEOUT);
    match peer.interrupt.wait(&[(peer.fd.as_fd(), PollFlags::IN)], until)? {
        Woken::Ready => {}
        Woken::Signal => return Err(interrupted()),
        Woken::Due => return Err(GreetingError::Nothing.into()),
    }
    let mut bytes = [0; WORD_BYTES];
    read(peer, &mut bytes)?;
    let word = Word::of(&bytes)?;
    if word == Word::Refused { Err(GreetingError::Refused.into()) } else { Ok(word) }
}

fn read<F: AsFd>(peer: &mut WaitingStream<'_, F>, bytes: &mut [u8]) -> io::Result<()> {
    peer.must_end("the greeting", Some(GREETING_TIMEOUT));
    let read = peer.read_exact(bytes);
    peer.may_last();
    let is_end =
        |kind| [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset].contains(&kind);
    read.map_err(|error| if is_end(error.kind()) { GreetingError::Closed.into() } else { error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_distinguished_from_those_of_other_versions_and_from_anything_else() {
        let of = |bytes: &[u8; WORD_BYTES]| Word::of(bytes).map_err(|error| error.to_string());
        assert_eq!(of(b"underpass-verify 2\n"), Ok(Word::Begins));
        assert_eq!(
            of(b"underpass-verify 1\n").unwrap_err(),
            "it speaks version 1 of the exchange and this end version 2; run the same underpass \
             at both ends"
        );
        for other in [b"HTTP/1.1 400 Bad Re", b"underpass-verify x\n", b"underpass-noword 2 "] {
            assert!(of(other).unwrap_err().starts_with("it sent something else"));
        }
    }
}
