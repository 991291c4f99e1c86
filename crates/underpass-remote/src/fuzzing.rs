//! What the fuzz targets see of this crate's parsers; compiled for them alone.

use crate::meta::Meta;

/// What a kept list says of an object, and the same written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Of the object.
    pub len: u64,
    /// Whether it says that all is there.
    pub is_whole: bool,
    /// Where pieces begin and end.
    pub pieces: Vec<(u64, u64)>,
    /// As it would be kept.
    pub written: Option<Vec<u8>>,
}

/// Reads what may have been kept.
#[must_use]
pub fn meta(bytes: &[u8]) -> Option<Kept> {
    let meta = Meta::read(bytes)?;
    let pieces = meta.there.pieces().iter().map(|piece| (piece.start, piece.end())).collect();
    let (len, is_whole) = (meta.about.head.len, meta.about.is_whole);
    Some(Kept { len, is_whole, pieces, written: meta.write() })
}
