//! A file that a server under strace sends, and the proof that no byte of it entered user memory.
//!
//! One process holds server and client; the test that is run under strace fetches the file
//! between two marks, and the test outside counts the calls.

use std::fs::File;
use std::io;

use crate::disk;
use crate::payload::pattern;
use crate::strace::{self, Call, Strace};

/// Bytes in the file: eight times what a stream sends before it yields, no multiple of a page, and
/// what 2 MiB pieces leave is more than is copied for being small.
pub const LEN: u64 = (32 << 20) + 20_005;

/// The most bytes of the file that HTTP/2 copies where every frame goes by reference: h2 fills
/// the segment of a frame's head up to 256 bytes, and a frame holds 16 KiB.
pub const HTTP2_COPIED_MAX: u64 = (LEN / 16_384 + 2) * (256 + 9 + 64);

/// A part of the file's name, by which strace's record tells its descriptors.
const NAME: &str = "underpass-payload";

/// The payload on a disk, under a name, and the directory that it goes with.
///
/// # Errors
///
/// Those of making and writing the file.
pub fn file() -> io::Result<(tempfile::TempDir, File)> {
    let dir = tempfile::tempdir_in(disk::disk_dir()?)?;
    let path = dir.path().join(NAME);
    std::fs::write(&path, pattern(0..LEN))?;
    Ok((dir, File::open(path)?))
}

/// The calls that the named test makes between its marks, in a separate process.
///
/// # Panics
///
/// If strace cannot be run, or the test fails there.
#[must_use]
pub fn trace(test: &str) -> Vec<Call> {
    let trace = Strace::of_test(test).and_then(|strace| strace.run()).expect("strace runs");
    trace.assert_success();
    trace.marked().to_vec()
}

/// Asserts that the file went by sendfile(2), all but `copied_max` bytes, and that nothing else
/// read it.
///
/// # Panics
///
/// If it was not so.
pub fn assert_by_reference(calls: &[Call], copied_max: u64) {
    for call in calls.iter().filter(|call| call.arguments.contains(NAME)) {
        match call.name.as_str() {
            "sendfile" => {}
            // The gate: one byte of a quantum, or a count of pages. What `Stability::Guard`
            // remembers of the file: 32 bytes, up to eight times.
            "preadv2" => assert!(call.returned <= Some(32), "{call:?}"),
            "cachestat" | "syscall_0x1c3" | "fstat" | "newfstatat" => {}
            "close" | "fcntl" => {}
            _ => panic!("the file was not to be used so: {call:?}"),
        }
    }
    let sent = strace::bytes(calls, "sendfile");
    assert!((LEN - copied_max..=LEN).contains(&sent), "{sent} of {LEN} bytes by sendfile");
    let written = written(calls);
    assert!(written <= copied_max + 4_096, "{written} bytes by copying calls");
}

/// Bytes that calls wrote which take them from user memory.
#[must_use]
pub fn written(calls: &[Call]) -> u64 {
    ["sendmsg", "sendto", "write", "writev"]
        .into_iter()
        .map(|name| strace::bytes(calls, name))
        .sum()
}
