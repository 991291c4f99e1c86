//! Digests of what is copied, as b3sum(1) and sha256sum(1) compute them.
//!
//! Source: the BLAKE3 paper; FIPS 180-4.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::str::FromStr;

use serde::Serialize;
use underpass_client::interrupted;

use crate::range_reader::RangeReader;

/// How much of a file is read at a time.
const BLOCK_BYTES: usize = 256 * 1024;

/// A digest that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// BLAKE3, 256 bits.
    Blake3,
    /// SHA-256.
    Sha256,
}

/// A word that names no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give blake3 or sha256")]
pub struct UnknownAlgorithm;

impl Algorithm {
    /// Its name, as the flag spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blake3 => "blake3",
            Self::Sha256 => "sha256",
        }
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(word: &str) -> Result<Self, UnknownAlgorithm> {
        [Self::Blake3, Self::Sha256]
            .into_iter()
            .find(|algorithm| algorithm.name() == word)
            .ok_or(UnknownAlgorithm)
    }
}

/// A digest of the bytes that were copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checksum {
    /// `blake3` or `sha256`.
    pub algorithm: &'static str,
    /// In hexadecimal, as b3sum(1) and sha256sum(1) print it.
    pub digest: String,
}

/// A digest that is being computed.
pub(crate) enum Digest {
    Blake3(Box<blake3::Hasher>),
    Sha256(Box<ring::digest::Context>),
}

impl Digest {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Blake3 => Self::Blake3(Box::new(blake3::Hasher::new())),
            Algorithm::Sha256 => {
                Self::Sha256(Box::new(ring::digest::Context::new(&ring::digest::SHA256)))
            }
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Self::Sha256(context) => context.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Checksum {
        match self {
            Self::Blake3(hasher) => Checksum {
                algorithm: Algorithm::Blake3.name(),
                digest: hexadecimal(hasher.finalize().as_bytes()),
            },
            Self::Sha256(context) => Checksum {
                algorithm: Algorithm::Sha256.name(),
                digest: hexadecimal(context.finish().as_ref()),
            },
        }
    }
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}

/// The digest of `len` bytes of a file from `at` on; fails once `ended` says so.
pub(crate) fn of_file(
    algorithm: Algorithm,
    file: &File,
    at: u64,
    len: u64,
    ended: &dyn Fn() -> bool,
) -> io::Result<Checksum> {
    let mut digest = Digest::new(algorithm);
    let mut range = RangeReader { file, at, end: at + len };
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if ended() {
            return Err(interrupted());
        }
        match range.read(&mut block)? {
            0 => return Ok(digest.finish()),
            n => digest.update(&block[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_published_vectors() {
        for (algorithm, want) in [
            // The empty input of BLAKE3's test_vectors.json.
            (Algorithm::Blake3, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            // FIPS 180-4's successor CAVP, the empty message.
            (Algorithm::Sha256, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ] {
            assert_eq!(Digest::new(algorithm).finish().digest, want);
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
        }
        let mut abc = Digest::new(Algorithm::Sha256);
        abc.update(b"abc");
        let want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(abc.finish().digest, want);
        assert_eq!("md5".parse::<Algorithm>(), Err(UnknownAlgorithm));
    }
}
