//! Numbers and sums as two ends write them: in network byte order.

use std::fs::File;
use std::io::{self, Read, Write};

use underpass_client::Interrupt;

use crate::digest::{self, Algorithm};
use crate::stop::Stop;

/// The most connections that a sender may ask for.
pub(crate) const CONNECTIONS_MAX: u64 = 64;

/// The most ranges that a receiver may have.
pub(super) const PIECES_MAX: u64 = 65;

/// Length and digest, as one end found them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) len: u64,
    pub(super) digest: String,
}

/// The two ends have different bytes; travels inside an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error(
    "altered or truncated: {} bytes with BLAKE3 {} were sent, {} bytes with BLAKE3 {} arrived",
    sent.len, sent.digest, got.len, got.digest
)]
struct Altered {
    sent: Sum,
    got: Sum,
}

impl Sum {
    /// That of `len` bytes of a file from `at` on.
    pub(super) fn of_file(
        file: &File,
        at: u64,
        len: u64,
        interrupt: &Interrupt,
    ) -> Result<Self, Stop> {
        let ended = || interrupt.signal().is_some();
        let checksum = digest::of_file(Algorithm::Blake3, file, at, len, &ended)
            .map_err(Stop::when("computing the digest"))?;
        Ok(Self { len, digest: checksum.digest })
    }

    /// Fails if what arrived is not what was sent.
    pub(super) fn agree(sent: &Self, got: &Self) -> Result<(), Stop> {
        if sent == got {
            return Ok(());
        }
        let altered = Altered { sent: sent.clone(), got: got.clone() };
        Err(Stop::call("verifying", io::Error::new(io::ErrorKind::InvalidData, altered)))
    }
}

pub(super) fn read_number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

pub(super) fn read_sum(from: &mut impl Read) -> io::Result<Sum> {
    let len = read_number(from)?;
    let mut bytes = [0; 32];
    from.read_exact(&mut bytes)?;
    Ok(Sum { len, digest: digest::hexadecimal(&bytes) })
}

pub(super) fn write_sum(to: &mut impl Write, sum: &Sum) -> io::Result<()> {
    let digits = sum.digest.as_bytes().chunks(2);
    let digest: Option<Vec<u8>> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
    to.write_all(&sum.len.to_be_bytes())?;
    to.write_all(&digest.unwrap_or_default())
}

/// Writes the length before each write.
pub(super) struct LengthPrefixed<'w, W>(pub(super) &'w mut W);

impl<W: Write> Write for LengthPrefixed<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            // A length of 0 would mean the end.
            self.0.write_all(&(bytes.len() as u64).to_be_bytes())?;
            self.0.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
