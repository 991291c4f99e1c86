//! A log whose files were damaged: opening never panics, and no batch is read that was not written.
//!
//! Input: a byte of flags, the lowest of which asks for a clean end and start; then five bytes a
//! damage: the file, what is done, where (two bytes), and a byte.
#![no_main]

use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use underpass_log::fuzzing::log;

/// Where a batch starts that the checksum covers.
const COVERED: usize = 21;

fuzz_target!(|bytes: &[u8]| {
    let Some((flags, damages)) = bytes.split_first() else { return };
    let parent = tempfile::tempdir_in("/dev/shm").expect("memory");
    let dir = parent.path().join("t-0");
    let written: Vec<Vec<u8>> = (0..12).map(|at| batch(1 + at % 3, 40 + 700 * at)).collect();
    let is_clean = flags & 1 == 1;
    log::write(&dir, &written, is_clean);
    damages.chunks_exact(5).take(16).for_each(|chunk| damage(&dir, chunk));
    let Ok(answers) = log::open(&dir, is_clean, &batch(2, 99)) else { return };
    // After a clean start closed segments are sent as they are.
    if is_clean {
        return;
    }
    for answer in answers {
        let is_known = |known: &Vec<u8>| known[COVERED..] == answer[COVERED..];
        assert!(written.iter().any(is_known), "{} bytes", answer.len());
    }
});

/// Damages one file.
fn damage(dir: &Path, chunk: &[u8]) {
    let mut names: Vec<_> =
        fs::read_dir(dir).expect("a log").map(|entry| entry.expect("a file").path()).collect();
    names.sort_unstable();
    if names.is_empty() {
        return;
    }
    let path = &names[usize::from(chunk[0]) % names.len()];
    let mut bytes = fs::read(path).expect("a file");
    let at = usize::from(u16::from_be_bytes([chunk[2], chunk[3]])) % (bytes.len() + 1);
    match chunk[1] % 5 {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, chunk[4]),
        2 if at < bytes.len() => bytes[at] ^= chunk[4],
        3 => bytes.extend(vec![chunk[4]; at % 97]),
        _ => {
            fs::remove_file(path).expect("a file");
            return;
        }
    }
    fs::write(path, bytes).expect("a file");
}

/// A batch of `count` records of which nothing is looked at.
fn batch(count: i32, payload: i32) -> Vec<u8> {
    let mut bytes = vec![0; 61];
    bytes[8..12].copy_from_slice(&(49 + payload).to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[27..35].copy_from_slice(&7_i64.to_be_bytes());
    bytes[35..43].copy_from_slice(&7_i64.to_be_bytes());
    bytes[43..57].fill(0xff);
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    bytes.extend((0..payload).map(|at| at.to_be_bytes()[3]));
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}
