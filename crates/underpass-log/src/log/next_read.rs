//! Where the batch starts that a consumer will ask for next.
//!
//! One that reads in order asks for the offset behind its last answer. The batch there seldom has
//! an entry in the index, and to find it from the entry before it takes a read of the batches
//! between. Segments are only appended to, so what is noted here stays right. Each thread
//! has its notes, and few of them: what is not there is looked for in the file.

use std::cell::RefCell;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use crate::open_files::FileKey;

/// Notes that a thread keeps. Two that share a slot take it from one another.
const NOTES: usize = 1024;

thread_local! {
    static NEXT_READS: RefCell<Vec<Option<NextRead>>> = const { RefCell::new(Vec::new()) };
}

/// The batch that holds `offset`, or the first one behind it, starts at `position` of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NextRead {
    pub(super) key: FileKey,
    /// Counted from the segment's first.
    pub(super) offset: u32,
    pub(super) position: u32,
}

impl NextRead {
    pub(super) fn note(self) {
        NEXT_READS.with_borrow_mut(|notes| {
            notes.resize(NOTES, None);
            notes[slot(self.key, self.offset)] = Some(self);
        });
    }

    /// Where the batch starts that answers `offset`, if this thread has noted it.
    pub(super) fn position(key: FileKey, offset: u32) -> Option<u32> {
        NEXT_READS.with_borrow(|notes| {
            let note = (*notes.get(slot(key, offset))?)?;
            ((note.key, note.offset) == (key, offset)).then_some(note.position)
        })
    }
}

fn slot(key: FileKey, offset: u32) -> usize {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((key, offset));
    usize::try_from(hash % NOTES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_of_one_offset_of_one_file() {
        let [key, other] = [(); 2].map(|()| FileKey::unique());
        NextRead { key, offset: 7, position: 1190 }.note();
        assert_eq!(NextRead::position(key, 7), Some(1190));
        // Some of these share its slot.
        for at in 0..4096_u32 {
            assert_eq!(NextRead::position(other, at), None, "{at}");
            assert!(at == 7 || NextRead::position(key, at).is_none(), "{at}");
        }
    }

    #[test]
    fn notes_are_bounded_and_the_last_one_of_a_slot_stays() {
        let key = FileKey::unique();
        let offsets = 0..10_240_u32;
        for offset in offsets.clone() {
            NextRead { key, offset, position: offset }.note();
            assert_eq!(NextRead::position(key, offset), Some(offset));
        }
        let kept = offsets.filter(|offset| NextRead::position(key, *offset).is_some()).count();
        assert!(kept <= NOTES, "{kept}");
    }
}
