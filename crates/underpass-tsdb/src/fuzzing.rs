//! What fuzz targets see of the inside.

use crate::damage::Damage;
use crate::file::{BlockFile, Window};
use crate::index::PostingsList;

/// The postings list at byte `offset`.
///
/// # Errors
///
/// If it is damaged.
pub fn postings(
    file: &BlockFile,
    offset: u64,
    window: &mut Window,
) -> Result<PostingsList, Damage> {
    PostingsList::open(file, offset, window)
}
