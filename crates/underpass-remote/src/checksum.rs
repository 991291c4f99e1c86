//! Whether all bytes of an object are what its origin says that they are.
//!
//! Source: RFC 9530 §2 (Repr-Digest); RFC 1864 (Content-MD5); Amazon S3, "Checking object
//! integrity".

use std::os::fd::BorrowedFd;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5};
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};

use crate::error::ObjectError;
use crate::extents::Extents;
use crate::fill::read_all;
use crate::head::Head;

/// A checksum and its bytes.
enum Promised {
    Digest(&'static Algorithm, Vec<u8>),
    Crc32c(u32),
    Md5(Vec<u8>),
}

const READ_BYTES: u64 = 1 << 20;

/// Compares the bytes with what the origin said of them; `false` if it said nothing.
pub(crate) fn of(head: &Head, file: BorrowedFd<'_>, there: &Extents) -> Result<bool, ObjectError> {
    let Some(promised) = promised(head) else { return Ok(false) };
    let (promised, found) = match promised {
        Promised::Crc32c(promised) => {
            (promised.to_be_bytes().to_vec(), crc32c(there).to_be_bytes().to_vec())
        }
        Promised::Digest(algorithm, promised) => (promised, digest(algorithm, file, there.len())?),
        Promised::Md5(promised) => (promised, md5(file, there.len())?.to_vec()),
    };
    if promised == found { Ok(true) } else { Err(other(&promised, &found)) }
}

/// The error that means that bytes are not what was said of them.
pub(crate) fn other(promised: &[u8], found: &[u8]) -> ObjectError {
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    ObjectError::Checksum { promised: text(promised), found: text(found) }
}

/// The strongest of what is said. Of parts (`…-3`) S3 says a checksum of checksums: none is known.
fn promised(head: &Head) -> Option<Promised> {
    let of = |text: &str| BASE64_STANDARD.decode(text.trim().trim_matches(':')).ok();
    let digest = |algorithm: &'static Algorithm, text: &str| {
        let bytes = of(text).filter(|bytes| bytes.len() == algorithm.output_len())?;
        Some(Promised::Digest(algorithm, bytes))
    };
    let listed = |name: &str| {
        let field = head.field("repr-digest").or_else(|| head.field("digest"))?;
        let named = field.split(',').filter_map(|one| one.trim().split_once('='));
        named.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, it)| it)
    };
    let crc = |text: &str| Some(Promised::Crc32c(u32::from_be_bytes(of(text)?.try_into().ok()?)));
    listed("sha-512")
        .and_then(|text| digest(&SHA512, text))
        .or_else(|| listed("sha-256").and_then(|text| digest(&SHA256, text)))
        .or_else(|| head.field("x-amz-checksum-sha256").and_then(|text| digest(&SHA256, text)))
        .or_else(|| {
            let text = head.field("x-amz-checksum-sha1");
            text.and_then(|text| digest(&SHA1_FOR_LEGACY_USE_ONLY, text))
        })
        .or_else(|| head.field("x-amz-checksum-crc32c").and_then(crc))
        .or_else(|| {
            let bytes = head.field("content-md5").and_then(of)?;
            (bytes.len() == 16).then_some(Promised::Md5(bytes))
        })
}

/// From those of its pieces: nothing is read.
fn crc32c(there: &Extents) -> u32 {
    there.pieces().iter().fold(0, |sum, piece| {
        let len = usize::try_from(piece.len).expect("32 bits");
        crc32c::crc32c_combine(sum, piece.crc32c, len)
    })
}

fn digest(
    algorithm: &'static Algorithm,
    file: BorrowedFd<'_>,
    len: u64,
) -> Result<Vec<u8>, ObjectError> {
    let mut context = Context::new(algorithm);
    read_in_order(file, len, |bytes| context.update(bytes))?;
    Ok(context.finish().as_ref().to_vec())
}

/// The MD5 digest of a file.
pub(crate) fn md5(file: BorrowedFd<'_>, len: u64) -> Result<[u8; 16], ObjectError> {
    let mut context = Md5::new();
    read_in_order(file, len, |bytes| context.update(bytes))?;
    Ok(context.finalize().into())
}

fn read_in_order(
    file: BorrowedFd<'_>,
    len: u64,
    mut take: impl FnMut(&[u8]),
) -> Result<(), ObjectError> {
    let mut buffer = vec![0; usize::try_from(READ_BYTES.min(len)).expect("a MiB")];
    let mut at = 0;
    while at < len {
        let part = usize::try_from((len - at).min(READ_BYTES)).expect("a MiB");
        read_all(file, &mut buffer[..part], at).map_err(ObjectError::Disk)?;
        take(&buffer[..part]);
        at += part as u64;
    }
    Ok(())
}
