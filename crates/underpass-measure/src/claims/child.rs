//! A separate process: one that reads a file, with its own memory and control group, or one that
//! removes a group when its maker is gone.
//!
//! A reader waits for its order before it touches the file, and by then it has been moved into its
//! group. Either ends with the process that started it: its order never comes, its answer has no
//! reader, or its input ends.
//!
//! Source: proc(5), `/proc/pid/status` (RssAnon, RssFile, VmPTE).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde::{Deserialize, Serialize};

use crate::claims::Given;
use crate::claims::group::{self, Group};
use crate::claims::rig::{Aligned, PIECE_BYTES, Rig, map, read_and_sum, sum};
use crate::usage::{Meter, Used, field};
use underpass_sys::region::Access;

/// How a child reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Way {
    /// Into a buffer as large as the file.
    Whole,
    /// Into a buffer of 64 KiB, again and again.
    Pieces,
    /// Through a mapping, which stays from pass to pass.
    Mapping,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Order {
    Read(Reading),
    /// Remove this group when the input ends.
    Keep(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reading {
    path: String,
    bytes: usize,
    way: Way,
    passes: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Reply {
    Done(Account),
    /// The group will be removed.
    Keeping,
    Failed {
        why: String,
    },
}

/// What a child saw and used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    /// All words, added up, over all passes.
    pub(super) sum: u64,
    pub(super) passes: Vec<Pass>,
    /// Memory at the end, beyond that at the start.
    pub(super) memory: Memory,
}

/// One pass over the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    pub(super) minor_faults: u64,
    pub(super) major_faults: u64,
    /// Bytes fetched from the disk; `None` without TASK_IO_ACCOUNTING.
    pub(super) disk_bytes: Option<u64>,
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) anonymous: u64,
    pub(super) file_mapped: u64,
    pub(super) page_tables: u64,
}

/// Has the rig's file read by a separate process, in `group` if there is one.
///
/// # Errors
///
/// [`io::ErrorKind::Unsupported`] if the program cannot be started again; those of starting it,
/// of moving it into the group, and what it fails with itself.
pub(super) fn read(
    rig: &Rig<'_>,
    group: Option<&Group>,
    bytes: usize,
    way: Way,
    passes: u32,
) -> io::Result<Account> {
    let mut started = Started::new(rig.given)?;
    if let Some(group) = group {
        group.add(started.process.id())?;
    }
    match started.order(&Order::Read(Reading { path: rig.path(), bytes, way, passes }))? {
        Reply::Done(account) => Ok(account),
        Reply::Failed { why } => Err(io::Error::other(why)),
        Reply::Keeping => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A process that removes a group when this is dropped or this process is gone.
#[derive(Debug)]
pub(super) struct Keeper(Started);

impl Keeper {
    /// Has the group at `path`, which need not be there yet, removed in the end.
    ///
    /// # Errors
    ///
    /// As [`read`].
    pub(super) fn of(given: &Given<'_>, path: &Path) -> io::Result<Self> {
        let mut started = Started::new(given)?;
        match started.order(&Order::Keep(path.to_owned()))? {
            Reply::Keeping => Ok(Self(started)),
            Reply::Failed { why } => Err(io::Error::other(why)),
            Reply::Done(_) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input is the word to remove the group and to end. If it cannot be waited
        // for, it is gone.
        self.0.input = None;
        self.0.process.wait().map(drop).unwrap_or_default();
    }
}

/// A process of this program. Ended and waited for when dropped: then it is out of its group.
#[derive(Debug)]
struct Started {
    process: Child,
    input: Option<ChildStdin>,
    /// Kept to its end: what else it prints must find a reader, or it would fail.
    output: Option<BufReader<ChildStdout>>,
}

impl Started {
    fn new(given: &Given<'_>) -> io::Result<Self> {
        let Some(again) = given.again else {
            let text = "this program cannot start itself again";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        };
        // A separate process group: Ctrl-C must not end it before it has removed what it keeps.
        let mut command = again();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut process = command.spawn()?;
        let (input, output) = (process.stdin.take(), process.stdout.take().map(BufReader::new));
        Ok(Self { process, input, output })
    }

    fn order(&mut self, order: &Order) -> io::Result<Reply> {
        let ends = self.input.as_mut().zip(self.output.as_mut());
        let (input, output) = ends.ok_or(io::ErrorKind::BrokenPipe)?;
        writeln!(input, "{}", serde_json::to_string(order)?)?;
        for line in output.lines() {
            // Whatever else the program prints, such as a test's frame, is not an answer.
            if let Ok(reply) = serde_json::from_str(&line?) {
                return Ok(reply);
            }
        }
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the separate process ended"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It has nothing to do after its answer, and nothing to clean up; that it is gone already
        // is not an error.
        self.process.kill().and_then(|()| self.process.wait()).map(drop).unwrap_or_default();
    }
}

/// Does what a measurement of [`run`](super::run) asks of a separate process: for the program
/// that [`Given::again`](super::Given::again) starts, on its standard input and output.
///
/// # Errors
///
/// Those of reading the order and writing the answer. What goes wrong with the order is answered.
pub fn serve(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(());
    }
    let mut answer = |reply: &Reply| -> io::Result<()> {
        writeln!(output, "{}", serde_json::to_string(reply)?)?;
        output.flush()
    };
    let failed = |error: io::Error| Reply::Failed { why: error.to_string() };
    match serde_json::from_str(&line) {
        Ok(Order::Read(reading)) => answer(&account(&reading).map_or_else(failed, Reply::Done)),
        Ok(Order::Keep(path)) => {
            answer(&Reply::Keeping)?;
            io::copy(&mut input, &mut io::sink())?;
            group::remove(&path)
        }
        Err(error) => answer(&failed(error.into())),
    }
}

fn account(order: &Reading) -> io::Result<Account> {
    let file = File::open(&order.path)?;
    let before = Memory::now()?;
    let mut account = Account { sum: 0, passes: Vec::new(), memory: Memory { ..before } };
    let mut pass = |sum_of: &mut dyn FnMut() -> io::Result<u64>| -> io::Result<()> {
        for _ in 0..order.passes {
            let meter = Meter::thread()?;
            let sum = sum_of()?;
            account.sum = account.sum.wrapping_add(sum);
            account.passes.push(Pass::of(&meter.used()?));
        }
        Ok(())
    };
    let after = match order.way {
        Way::Whole | Way::Pieces => {
            let len = if order.way == Way::Whole { order.bytes } else { PIECE_BYTES };
            let mut buffer = Aligned::new(len);
            pass(&mut || read_and_sum(&file, order.bytes as u64, buffer.bytes()))?;
            Memory::now()?
        }
        Way::Mapping => {
            let region = map(&file, order.bytes, Access::Read)?;
            pass(&mut || Ok(sum(&region)))?;
            Memory::now()?
        }
    };
    account.memory = after.beyond(&before);
    Ok(account)
}

impl Pass {
    fn of(spent: &Used) -> Self {
        Self {
            minor_faults: spent.minor_faults,
            major_faults: spent.major_faults,
            disk_bytes: spent.disk_read_bytes,
        }
    }
}

impl Memory {
    fn now() -> io::Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status")?;
        let bytes = |name| {
            field(&status, name).map(|kib| kib * 1024).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::Unsupported,
                    format!("/proc/self/status has no {name}"),
                )
            })
        };
        Ok(Self {
            anonymous: bytes("RssAnon:")?,
            file_mapped: bytes("RssFile:")?,
            page_tables: bytes("VmPTE:")?,
        })
    }

    const fn beyond(&self, before: &Self) -> Self {
        Self {
            anonymous: self.anonymous.saturating_sub(before.anonymous),
            file_mapped: self.file_mapped.saturating_sub(before.file_mapped),
            page_tables: self.page_tables.saturating_sub(before.page_tables),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn reply_to(line: &str) -> Reply {
        let mut reply = Vec::new();
        serve(line.as_bytes(), &mut reply).unwrap();
        serde_json::from_slice(&reply).unwrap()
    }

    #[test]
    fn each_way_sees_the_same_words_and_says_what_it_holds() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all_at(&[1; 1 << 20], 0).unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        for way in [Way::Whole, Way::Pieces, Way::Mapping] {
            let reading = Reading { path: path.clone(), bytes: 1 << 20, way, passes: 2 };
            let line = serde_json::to_string(&Order::Read(reading)).unwrap();
            let Reply::Done(account) = reply_to(&line) else { panic!("{way:?}") };
            let words = (1_u64 << 17) * 2;
            assert_eq!(account.sum, words.wrapping_mul(u64::from_ne_bytes([1; 8])), "{way:?}");
            assert_eq!(account.passes.len(), 2);
        }
    }

    #[test]
    fn a_child_without_an_order_ends_and_one_that_fails_says_why() {
        let mut reply = Vec::new();
        serve(&b""[..], &mut reply).unwrap();
        assert_eq!(reply, b"");
        let way = Way::Pieces;
        let reading = Reading { path: "/nowhere".into(), bytes: 1, way, passes: 1 };
        let reply = reply_to(&serde_json::to_string(&Order::Read(reading)).unwrap());
        assert!(matches!(reply, Reply::Failed { why } if why.contains("No such file")));
    }
}
