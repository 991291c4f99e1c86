//! A file of `chunks_head` that Prometheus' own library wrote, whole and damaged.
//!
//! `vectors/head.txt` is what `vectors/main.go` prints: three chunks of series 7, 8 and 9 with 3,
//! 43 and 83 samples, the second in XOR2, the third out of order, and zeros.

use std::path::PathBuf;

use tempfile::TempDir;
use underpass_tsdb::chunk::head::{HeadChunk, HeadFile};
use underpass_tsdb::{Backend, Damage, Encoding, Fault, Samples, Section, Window, chunk};

const START: i64 = 1_700_000_000_000;

fn file() -> Vec<u8> {
    let hex = include_str!("../vectors/head.txt").trim();
    let byte = |at| u8::from_str_radix(&hex[2 * at..][..2], 16).expect("two digits");
    (0..hex.len() / 2).map(byte).collect()
}

/// Where the chunks start and where the last ends, counted by hand: 24 bytes of number and times,
/// one of encoding, a length of one or two bytes, data, four of checksum.
const PLACES: [usize; 4] = [8, 61, 171, 325];

struct Placed {
    _dir: TempDir,
    path: PathBuf,
}

fn placed(bytes: &[u8]) -> Placed {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("000001");
    std::fs::write(&path, bytes).expect("a file");
    Placed { _dir: dir, path }
}

/// The numbers of the series whose chunks can be read, and what is damaged.
fn read(bytes: &[u8], backend: Backend) -> (Vec<u64>, Vec<Damage>) {
    let Placed { path, .. } = &placed(bytes);
    let file = HeadFile::open(path, backend).expect("a file");
    let (mut found, mut damages) = (Vec::new(), Vec::new());
    damages.extend(file.check_header().err());
    let (mut chunks, mut window) = (file.chunks(), Window::ahead(Window::AHEAD));
    while let Some(next) = chunks.next(&mut window) {
        match next {
            Ok(chunk) => found.push(chunk.series),
            Err(damage) => damages.push(damage),
        }
    }
    (found, damages)
}

#[test]
fn the_chunks_of_a_head_are_read() {
    let Placed { path, _dir } = placed(&file());
    for backend in [Backend::Map, Backend::Pread] {
        let file = HeadFile::open(&path, backend).unwrap();
        assert_eq!(file.check_header(), Ok(()));
        let (mut chunks, mut window) = (file.chunks(), Window::exact());
        for (place, series) in (0..3).zip(7..) {
            let HeadChunk { min_time, max_time, is_out_of_order, encoding, data, start, .. } =
                chunks.next(&mut window).unwrap().unwrap();
            let count = 3 + 40 * place;
            assert_eq!((min_time, max_time), (START, START + 15_000 * (count - 1)), "{series}");
            assert_eq!(is_out_of_order, place == 2);
            let encoding = Encoding::try_from(encoding).unwrap();
            assert_eq!(encoding, if place == 1 { Encoding::Xor2 } else { Encoding::Xor });
            let mut samples = Samples::default();
            assert_eq!(chunk::decode(encoding, data, &mut samples), Ok(()));
            assert_eq!(samples.floats.len() as i64, count);
            assert_eq!(samples.floats.last().unwrap().value, (count - 1) as f64 / 8.0);
            let again = file.chunk(start, &mut window).unwrap();
            assert_eq!(again.series, series);
        }
        assert_eq!(chunks.next(&mut window), None);
    }
}

#[test]
fn every_flipped_byte_loses_one_chunk_and_is_named() {
    let bytes = file();
    for at in 0..bytes.len() {
        for flip in [0x01, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            let (found, damages) = read(&bytes, Backend::Pread);
            let hit = PLACES.windows(2).position(|two| two[0] <= at && at < two[1]);
            let expected: Vec<u64> =
                (0..3).filter(|place| hit != Some(*place)).map(|n| n as u64 + 7).collect();
            assert_eq!(found, expected, "byte {at}");
            // Bytes 5 to 7 are padding, which nothing reads.
            assert_eq!(damages.is_empty(), (5..8).contains(&at), "byte {at}: {damages:?}");
            if let Some(hit) = hit {
                let [Damage { offset, section: Section::Chunk, .. }] = damages[..] else {
                    panic!("byte {at}: {damages:?}");
                };
                assert_eq!(offset, PLACES[hit] as u64, "byte {at}");
            }
        }
    }
}

#[test]
fn every_cut_keeps_the_chunks_before_it() {
    let bytes = file();
    for cut in 0..bytes.len() {
        let (found, damages) = read(&bytes[..cut], Backend::Map);
        let whole = PLACES[1..].iter().take_while(|end| **end <= cut).count();
        assert_eq!(found.len(), whole, "cut at {cut}");
        // Zeros at the start of a chunk are not told from those behind the last.
        let rest = bytes.get(PLACES[whole]..cut);
        let is_between = rest.is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
        assert_eq!(damages.is_empty(), is_between, "cut at {cut}: {damages:?}");
    }
}

#[test]
fn a_file_that_is_none_of_a_head_is_named() {
    let (found, damages) = read(&[0x85, 0xbd, 0x40, 0xdd, 2, 0, 0, 0], Backend::Map);
    assert!(found.is_empty());
    let [Damage { offset: 0, section: Section::Header, fault: Fault::Value { found, .. }, .. }] =
        damages[..]
    else {
        panic!("{damages:?}");
    };
    assert_eq!(found, 0x85bd_40dd);
}
