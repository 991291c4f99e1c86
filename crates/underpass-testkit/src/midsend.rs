//! A file that is changed while curl fetches it: curl is held by its standard output, a pipe that
//! is not read, until the change is made.
//!
//! Servers listen on Unix sockets, whose buffers do not grow: what a server, a socket, curl and
//! the pipe hold together is far from the whole file, so that the change comes before its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{disk, wait};

/// Bytes in the file.
pub const LEN: u64 = 8 << 20;

/// What befalls the file in mid-send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its last quarter goes.
    Truncated,
    /// Its last bytes are others.
    Overwritten,
    /// It is appended to.
    Grown,
}

impl Fault {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::Truncated, Self::Overwritten, Self::Grown];

    /// Changes the file so.
    ///
    /// # Errors
    ///
    /// Those of changing it.
    pub fn befall(self, file: &File) -> io::Result<()> {
        wait::until_file_times_move();
        match self {
            Self::Truncated => file.set_len(LEN / 4 * 3),
            Self::Overwritten => file.write_all_at(b"torn", LEN - 4),
            Self::Grown => file.write_all_at(&[b'+'; 1_000], LEN),
        }
    }
}

/// An unnamed file on a disk, of bytes that no compression makes fewer, and these bytes.
///
/// # Errors
///
/// Those of making and writing it.
pub fn file() -> io::Result<(File, Vec<u8>)> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift64, Marsaglia 2003.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(usize::try_from(LEN).unwrap_or(0) / 8)
    .flatten()
    .collect();
    let mut file = tempfile::tempfile_in(disk::disk_dir()?)?;
    file.write_all(&bytes)?;
    wait::until_file_times_move();
    Ok((file, bytes))
}

/// What curl gets of `url` over the socket at `path` while `fault` befalls the file: its exit
/// code and the body.
///
/// # Errors
///
/// Those of starting curl and of the file.
pub fn curl(
    path: &Path,
    arguments: &[&str],
    url: &str,
    (fault, file): (Fault, &File),
) -> io::Result<(Option<i32>, Vec<u8>)> {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--no-buffer", "--unix-socket"]).arg(path).args(arguments).arg(url);
    let mut child = curl.stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().expect("it was asked to be a pipe");
    let mut got = vec![0; 1_000];
    output.read_exact(&mut got)?;
    fault.befall(file)?;
    output.read_to_end(&mut got)?;
    Ok((child.wait()?.code(), got))
}

/// Asserts that a response which ended well is the whole file as it was, and that only one of a
/// file that grew did.
///
/// # Panics
///
/// If that is not so.
pub fn assert_whole_or_cut(fault: Fault, (code, got): (Option<i32>, Vec<u8>), was: &[u8]) {
    let is_whole = got == was;
    if fault == Fault::Grown {
        assert!(code == Some(0) && is_whole, "{fault:?}: curl ended with {code:?}, {}", got.len());
    } else {
        assert!(
            code != Some(0),
            "{fault:?}: complete with {} bytes, the same: {is_whole}",
            got.len()
        );
    }
}
