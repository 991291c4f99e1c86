//! The values of a label, as the postings offset table has them.

use std::ops::ControlFlow;

use crate::damage::Damage;
use crate::index::Index;

/// Hands each value of a label that begins with `prefix` to `take`, with the place of its postings
/// list, until that breaks. In the order of the values, except in version 1.
///
/// # Errors
///
/// If the table is damaged.
pub(crate) fn each_value(
    index: &Index,
    name: &[u8],
    prefix: &[u8],
    mut take: impl FnMut(&[u8], u64) -> ControlFlow<()>,
) -> Result<(), Damage> {
    index.check_table()?;
    let is_sorted = index.version() != 1;
    let mut cursor = index.table().seek(index.file(), name, prefix)?;
    while let Some(entry) = cursor.peek(index.file())? {
        let is_one = entry.name == name && entry.value.starts_with(prefix);
        let is_last = if is_one { take(entry.value, entry.offset).is_break() } else { is_sorted };
        if is_last {
            break;
        }
        cursor.advance();
    }
    // What is not there must not be what a damaged entry hides.
    index.verify_table()
}
