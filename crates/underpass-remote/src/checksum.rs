//! Whether all bytes of an object are what its origin says that they are.
//!
//! An entity-tag of S3 is not a checksum in general: of an upload in parts it is another thing, and
//! of an encrypted object too.
//!
//! Source: RFC 9530 §2 (Repr-Digest); Amazon S3, "Checking object integrity".

use std::os::fd::BorrowedFd;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};

use crate::error::ObjectError;
use crate::extents::Extents;
use crate::fill::read_all;
use crate::head::Head;

/// A checksum and its bytes.
enum Promised {
    Digest(&'static Algorithm, Vec<u8>),
    Crc32c(u32),
}

const READ_BYTES: u64 = 1 << 20;

/// Compares the bytes with what the origin said of them, if it said something.
pub(crate) fn of(head: &Head, file: BorrowedFd<'_>, there: &Extents) -> Result<(), ObjectError> {
    let Some(promised) = promised(head) else { return Ok(()) };
    let (promised, found) = match promised {
        Promised::Crc32c(promised) => {
            (promised.to_be_bytes().to_vec(), crc32c(there).to_be_bytes().to_vec())
        }
        Promised::Digest(algorithm, promised) => (promised, digest(algorithm, file, there.len())?),
    };
    if promised == found {
        return Ok(());
    }
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    Err(ObjectError::Checksum { promised: text(&promised), found: text(&found) })
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
    let (mut context, mut at) = (Context::new(algorithm), 0);
    let mut buffer = vec![0; usize::try_from(READ_BYTES.min(len)).expect("a MiB")];
    while at < len {
        let part = usize::try_from((len - at).min(READ_BYTES)).expect("a MiB");
        read_all(file, &mut buffer[..part], at).map_err(ObjectError::Disk)?;
        context.update(&buffer[..part]);
        at += part as u64;
    }
    Ok(context.finish().as_ref().to_vec())
}
