//! Bodies in pieces: whole, or an error, and never a byte that was in no file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use underpass::{Copied, ErrorKind, FileBytes, Frames, Stability};
use underpass_testkit::disk::Disk;
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::wait;

/// A few pieces, the last of them short.
const LEN: u64 = (5 << 20) + 17;

/// How the pieces are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pieces {
    Referred,
    Copied,
}

#[expect(unsafe_code, reason = "readers of files that change are what is tested")]
fn frames(file: &File, stability: Stability, pieces: Pieces) -> Frames {
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., stability).unwrap();
    match pieces {
        // SAFETY: `FileBytes::into_frames`: the tests accept that what they read may change.
        Pieces::Referred => unsafe { mapped.into_frames() },
        Pieces::Copied => mapped.into_copied_frames(),
    }
}

/// What a reader gets, and how it ends, if `meanwhile` happens once it has read `after` pieces.
fn read_around(
    frames: Frames,
    after: usize,
    meanwhile: impl FnOnce(),
) -> (Vec<u8>, Option<ErrorKind>) {
    let mut meanwhile = Some(meanwhile);
    let (mut got, mut frames) = (Vec::new(), frames);
    for index in 0.. {
        if index == after {
            meanwhile.take().unwrap()();
        }
        match frames.next() {
            Some(Ok(piece)) => got.extend_from_slice(&piece),
            Some(Err(error)) => {
                assert!(frames.is_over() && frames.next().is_none(), "an error is the end");
                return (got, Some(error.kind));
            }
            None => break,
        }
    }
    assert!(frames.is_over());
    (got, None)
}

#[test]
fn the_pieces_are_the_file_and_no_longer_than_they_may_be() {
    let file = patterned_file(LEN).unwrap();
    for (pieces, most) in [(Pieces::Referred, 2 << 20), (Pieces::Copied, 64 << 10)] {
        let mut frames = frames(&file, Stability::Guard, pieces);
        let mut got = Vec::new();
        while frames.remaining() > 0 {
            let piece = frames.next().unwrap().unwrap();
            assert!((1..=most).contains(&piece.len()), "{pieces:?}: {}", piece.len());
            got.extend_from_slice(&piece);
        }
        assert!(!frames.is_over(), "the end was not asked for");
        assert!(frames.next().is_none() && frames.is_over());
        assert_eq!(difference(&got, 0, LEN), None, "{pieces:?}");
    }
}

/// What [`Frames::copy_hot`] gives into a buffer of that length, and how it ends.
fn copied(mut frames: Frames, room: usize) -> (Vec<u8>, Option<ErrorKind>) {
    let (mut got, mut buffer) = (Vec::new(), vec![0; room]);
    loop {
        match frames.copy_hot(&mut buffer) {
            Ok(Copied::Bytes(0)) => return (got, None),
            Ok(Copied::Bytes(len)) => got.extend_from_slice(&buffer[..len]),
            Ok(Copied::Cold(cold)) => cold.prefetch().unwrap(),
            Err(error) => {
                assert!(frames.is_over());
                return (got, Some(error.kind));
            }
        }
    }
}

#[test]
fn a_buffer_that_is_used_again_gets_the_file_from_memory_and_from_the_disk() {
    let file = patterned_file(LEN).unwrap();
    let of = || frames(&file, Stability::Guard, Pieces::Copied);
    for room in [1_000, 65_536, 1 << 20] {
        let (got, end) = copied(of(), room);
        assert_eq!((difference(&got, 0, LEN), end), (None, None), "{room}");
    }
    let waited = wait::until(Duration::from_secs(10), || {
        Disk::evict(&file).unwrap();
        matches!(of().copy_hot(&mut [0; 100]).unwrap(), Copied::Cold(_)).then_some(())
    });
    assert!(waited.is_some(), "a disk is not that quick every time");
    Disk::evict(&file).unwrap();
    assert_eq!(difference(&copied(of(), 65_536).0, 0, LEN), None);
    // What was to be fetched and was not is waited for.
    Disk::evict(&file).unwrap();
    let (mut frames, mut buffer) = (of(), [0; 100]);
    let first = frames.copy_hot(&mut buffer).unwrap();
    if let Copied::Cold(_) = first {
        let Copied::Bytes(len) = frames.copy_hot(&mut buffer).unwrap() else { panic!("again") };
        assert_eq!(difference(&buffer[..len], 0, 100), None);
    }
}

#[test]
fn a_buffer_gets_an_error_of_a_file_that_is_not_what_it_was() {
    let file = patterned_file(LEN).unwrap();
    wait::until_file_times_move();
    for (meanwhile, expected) in [
        (&(|| file.write_all_at(b"torn", LEN - 4).unwrap()) as &dyn Fn(), ErrorKind::Changed),
        (&|| file.set_len(9).unwrap(), ErrorKind::Truncated { missing: LEN - 9 }),
    ] {
        let mut frames = frames(&file, Stability::Guard, Pieces::Copied);
        assert!(matches!(frames.copy_hot(&mut [0; 9]), Ok(Copied::Bytes(9))));
        meanwhile();
        assert_eq!(copied(frames, 100).1, Some(expected));
    }
}

#[test]
fn no_reader_completes_a_file_that_lost_bytes_and_copies_have_none_that_were_not_in_it() {
    for pieces in [Pieces::Referred, Pieces::Copied] {
        for stability in [Stability::None, Stability::Guard] {
            let last = frames(&patterned_file(LEN).unwrap(), stability, pieces).count();
            for (after, size) in [(0, 100), (1, 100), (1, 70_000), (2, LEN - 1), (last, LEN - 1)] {
                let file = patterned_file(LEN).unwrap();
                let frames = frames(&file, stability, pieces);
                let (got, end) = read_around(frames, after, || file.set_len(size).unwrap());
                let told = (pieces, stability, after, size);
                assert_eq!(end, Some(ErrorKind::Truncated { missing: LEN - size }), "{told:?}");
                if pieces == Pieces::Copied {
                    assert_eq!(difference(&got, 0, got.len() as u64), None, "{told:?}");
                }
            }
        }
    }
}

/// The pages of a piece are lost while it is being read: zeros are read, and found.
#[test]
fn a_piece_that_was_lost_while_it_was_read_is_the_last() {
    let file = patterned_file(LEN).unwrap();
    let mut frames = frames(&file, Stability::None, Pieces::Referred);
    let piece = frames.next().unwrap().unwrap();
    file.set_len(4_096).unwrap();
    assert_eq!(piece[8_000], 0, "a byte that is in no file");
    file.set_len(LEN).unwrap();
    let error = frames.next().unwrap().unwrap_err();
    assert!(matches!(error.kind, ErrorKind::Truncated { .. }), "{error:?}");
}

#[test]
fn a_file_that_is_overwritten_is_cut_under_guard() {
    for pieces in [Pieces::Referred, Pieces::Copied] {
        for after in [0, 1, 2] {
            let file = patterned_file(LEN).unwrap();
            wait::until_file_times_move();
            let frames = frames(&file, Stability::Guard, pieces);
            let (got, end) = read_around(frames, after, || {
                file.write_all_at(b"torn", LEN - 4).unwrap();
            });
            assert_eq!(end, Some(ErrorKind::Changed), "{pieces:?} after {after}");
            assert!((got.len() as u64) < LEN);
        }
    }
}

#[test]
fn a_file_that_is_to_be_copied_is_copied_by_the_unsafe_way_too() {
    let file = patterned_file(LEN).unwrap();
    let mut frames = frames(&file, Stability::Copy, Pieces::Referred);
    let piece = frames.next().unwrap().unwrap();
    file.write_all_at(b"torn", 0).unwrap();
    assert_eq!(piece[..4], pattern(0..4));
}
