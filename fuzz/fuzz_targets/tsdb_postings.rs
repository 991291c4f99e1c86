//! A postings list: what is found by steps and bisection, next to a search from one to the next.
//!
//! Input: a byte of flags (1: in ascending order, 2: the length is right, 4: the checksum is
//! right), how many seeks there are, what they seek in two bytes each, then the list.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use underpass_fuzz::place;
use underpass_tsdb::{Backend, BlockFile, SeriesId, Window, fuzzing};

fuzz_target!(|bytes: &[u8]| {
    let [flags, seeks, rest @ ..] = bytes else { return };
    let Some((seeks, rest)) = rest.split_at_checked(2 * usize::from(*seeks)) else { return };
    let mut ids: Vec<u32> = numbers(rest);
    if flags & 1 == 1 {
        // Differences, so that most are near each other.
        ids = ids.iter().scan(0, |last: &mut u32, id| Some(next(last, id % 300))).collect();
    }
    let file = written(*flags, &ids, rest);
    let path = place("postings");
    fs::write(&path, &file).expect("a file in memory");
    let file = BlockFile::open(&path, Backend::Pread).expect("a file");
    let opened = fuzzing::postings(&file, 0, &mut Window::exact());
    assert!(opened.is_ok() || flags & 6 != 6, "{opened:?}");
    let Ok(list) = opened else { return };
    let mut postings = list.iter(&file);
    let mut passed = 0;
    for seek in seeks.chunks(2) {
        let least = u32::from(u16::from_be_bytes([seek[0], seek[1]]));
        let found = postings.seek(SeriesId(least)).expect("it can be read");
        if flags & 7 == 7 {
            passed += ids[passed..].iter().take_while(|id| **id < least).count();
            assert_eq!(found, ids.get(passed).copied().map(SeriesId), "{least} in {ids:?}");
            passed = ids.len().min(passed + 1);
            assert_eq!(postings.left() as usize, ids.len() - passed);
        }
    }
    let left = postings.left();
    let read = (0..).take_while(|_| matches!(postings.next_id(), Ok(Some(_)))).count();
    assert_eq!(read, left as usize);
});

fn numbers(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|four| u32::from_be_bytes(four.try_into().expect("four"))).collect()
}

fn next(last: &mut u32, difference: u32) -> u32 {
    *last += difference + 1;
    *last
}

fn written(flags: u8, ids: &[u32], otherwise: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    if flags & 2 == 2 {
        content.extend((ids.len() as u32).to_be_bytes());
        content.extend(ids.iter().flat_map(|id| id.to_be_bytes()));
    } else {
        content.extend(otherwise);
    }
    let sum = if flags & 4 == 4 { crc32c::crc32c(&content) } else { 7 };
    let len = if flags & 2 == 2 { content.len() as u32 } else { u32::from(flags) };
    [&len.to_be_bytes()[..], &content, &sum.to_be_bytes()].concat()
}
