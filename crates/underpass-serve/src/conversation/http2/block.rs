//! Blocks of files that were read for one response and serve the next: what is in demand is not
//! copied from the page cache again and again.
//!
//! A block is sent only if the policy about changes vouches for its file then, so it is what a
//! read would give. Files whose changes no one looks for have none.

use std::cell::RefCell;
use std::num::NonZeroUsize;

use bytes::{Bytes, BytesMut};
use lru::LruCache;
use underpass::{Cold, Copied, Error, Frames};

use super::buffer::{BUFFER_BYTES, Buffer};
use super::room::FRAME_BYTES;

/// What a worker keeps: 16 MiB.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::new(256).unwrap();

/// Mapping, and where in the file.
type Key = (u64, u64);

thread_local! {
    static KEPT: RefCell<LruCache<Key, Bytes>> = RefCell::new(LruCache::new(KEPT_MAX));
}

/// What comes next of a file.
#[derive(Debug)]
pub(super) enum Next {
    Piece(Bytes),
    Cold(Cold),
}

/// The next piece of a file, of up to `most` bytes.
///
/// # Errors
///
/// Those of [`Frames::copy_hot`].
pub(super) fn next(frames: &mut Frames, most: usize) -> Result<Next, Error> {
    let (at, most) = (frames.file_position(), most.min(BUFFER_BYTES));
    let within = usize::try_from(at % BUFFER_BYTES as u64).unwrap_or(0);
    let key = frames.watched().map(|mapping| (mapping, at - within as u64));
    let kept = key.and_then(|key| KEPT.with_borrow_mut(|kept| kept.get(&key).cloned()));
    let left = usize::try_from(frames.remaining()).unwrap_or(usize::MAX);
    let end = within + most.min(left).min(BUFFER_BYTES - within);
    // One that is shorter was the end of a part.
    if let Some(block) = kept.filter(|block| block.len() >= end) {
        let len = frames.pass_over(end - within)?;
        let piece = within..within + len;
        // What waits for a full socket is not to keep all of a block.
        let is_small = len <= FRAME_BYTES && len < block.len();
        return Ok(Next::Piece(if is_small {
            Bytes::copy_from_slice(&block[piece])
        } else {
            block.slice(piece)
        }));
    }
    // Up to its end, so that the next begins with a block.
    let most = most.min(BUFFER_BYTES - within);
    if most <= FRAME_BYTES && (most as u64) < frames.remaining() {
        let mut piece = BytesMut::zeroed(most);
        return Ok(match frames.copy_hot(&mut piece)? {
            Copied::Bytes(len) => Next::Piece(piece.split_to(len).freeze()),
            Copied::Cold(cold) => Next::Cold(cold),
        });
    }
    let mut buffer = Buffer::new();
    let len = match frames.copy_hot(&mut buffer.room()[..most])? {
        Copied::Bytes(len) => len,
        Copied::Cold(cold) => return Ok(Next::Cold(cold)),
    };
    let piece = buffer.into_bytes(len);
    // A part of a block would stand in the way of all of it.
    if let Some(key) = key.filter(|_| len == BUFFER_BYTES || frames.remaining() == 0)
        && within == 0
    {
        KEPT.with_borrow_mut(|kept| kept.put(key, piece.clone()));
    }
    Ok(Next::Piece(piece))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use underpass::{ErrorKind, FileBytes, Stability};
    use underpass_testkit::payload::{difference, patterned_file};
    use underpass_testkit::wait;

    use super::*;

    const LEN_BYTES: usize = 200_000;
    const LEN: u64 = LEN_BYTES as u64;

    fn map(file: &File, stability: Stability) -> FileBytes {
        FileBytes::map(file.try_clone().unwrap(), .., stability).unwrap()
    }

    /// All pieces of up to `most` bytes.
    fn pieces(file: &FileBytes, most: usize) -> Result<Vec<Bytes>, ErrorKind> {
        let (mut frames, mut all) = (file.clone().into_copied_frames(), Vec::new());
        while frames.remaining() > 0 {
            match next(&mut frames, most).map_err(|error| error.kind)? {
                Next::Piece(piece) => all.push(piece),
                Next::Cold(cold) => cold.prefetch().unwrap(),
            }
        }
        Ok(all)
    }

    #[test]
    fn what_was_read_once_is_not_read_again_and_is_the_file_however_it_is_cut() {
        let file = patterned_file(LEN).unwrap();
        let mapped = map(&file, Stability::Guard);
        let first = pieces(&mapped, usize::MAX).unwrap();
        assert_eq!(
            first.iter().map(Bytes::len).collect::<Vec<_>>(),
            [65_536, 65_536, 65_536, 3_392]
        );
        let again = pieces(&mapped, usize::MAX).unwrap();
        let at = |all: &[Bytes]| all.iter().map(|it| it.as_ptr()).collect::<Vec<_>>();
        assert_eq!(at(&first), at(&again));
        for most in [1_000, 50_000, 65_535] {
            let part = mapped.slice(777..190_001).unwrap();
            let got = pieces(&part, most).unwrap().concat();
            assert_eq!(difference(&got, 777, 190_001 - 777), None, "{most}");
        }
        let other = pieces(&map(&file, Stability::Guard), usize::MAX).unwrap();
        assert_ne!(at(&first), at(&other), "another mapping");
    }

    #[test]
    fn nothing_is_kept_where_no_one_looks_for_changes() {
        let file = patterned_file(LEN).unwrap();
        for stability in [Stability::None, Stability::Copy] {
            let mapped = map(&file, stability);
            let both = [(); 2].map(|()| pieces(&mapped, usize::MAX).unwrap());
            assert_ne!(both[0][0].as_ptr(), both[1][0].as_ptr(), "{stability:?}");
            assert_eq!(difference(&both[1].concat(), 0, LEN), None);
        }
    }

    #[test]
    fn a_part_of_a_block_is_not_kept_in_place_of_it() {
        let file = patterned_file(LEN).unwrap();
        for (part, most) in [(0..1_000, 1_000), (0..LEN_BYTES, 1_000), (777..LEN_BYTES, usize::MAX)]
        {
            let mapped = map(&file, Stability::Guard);
            pieces(&mapped.slice(part.clone()).unwrap(), most).unwrap();
            let all = pieces(&mapped, usize::MAX).unwrap();
            assert_eq!(difference(&all.concat(), 0, LEN), None, "{part:?}");
            assert_eq!(all[0].len(), BUFFER_BYTES, "{part:?}");
        }
    }

    #[test]
    fn what_was_read_once_is_not_sent_of_a_file_that_has_changed() {
        let file = patterned_file(LEN).unwrap();
        wait::until_file_times_move();
        let mapped = map(&file, Stability::Guard);
        pieces(&mapped, usize::MAX).unwrap();
        file.write_all_at(b"other", 100_000).unwrap();
        assert_eq!(pieces(&mapped, usize::MAX), Err(ErrorKind::Changed));
    }
}
