//! What /proc tells of threads and descriptors, for those that no call was seen to make.
//!
//! Source: proc_pid_fd(5), proc_pid_task(5), proc_pid_net(5).

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::descriptors::{Descriptor, End};
use crate::evidence::{FileId, FileKind};

/// The threads of a process; none if it is gone.
pub(crate) fn threads(process: u32) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The descriptors of a process.
pub(crate) fn descriptors(process: u32) -> Vec<(u64, End)> {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut sockets = Sockets::default();
    numbers.filter_map(|number| Some((number, sockets.end((process, number))?))).collect()
}

/// What is behind descriptors now, as far as /proc tells.
pub(crate) fn answers(questions: &[(Descriptor, End)]) -> Vec<(Descriptor, End, End)> {
    let mut sockets = Sockets::default();
    let answer = |(descriptor, end): &(Descriptor, End)| {
        Some((*descriptor, *end, sockets.end(*descriptor)?))
    };
    questions.iter().filter_map(answer).collect()
}

/// TCP sockets, by the network of a process: read at the first socket that is asked for.
#[derive(Debug, Default)]
struct Sockets {
    tcp: BTreeMap<u32, HashSet<u64>>,
}

impl Sockets {
    fn end(&mut self, (process, number): Descriptor) -> Option<End> {
        let path = format!("/proc/{process}/fd/{number}");
        let metadata = std::fs::metadata(Path::new(&path)).ok()?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let kind = metadata.file_type();
        let id = |kind| FileId {
            kind,
            major: rustix::fs::major(device),
            minor: rustix::fs::minor(device),
            inode,
        };
        Some(match () {
            () if kind.is_socket() => {
                let tcp = self.tcp.entry(process).or_insert_with(|| tcp_inodes(process));
                if tcp.contains(&inode) { End::Tcp } else { End::Socket }
            }
            () if kind.is_fifo() => End::Pipe(inode),
            () if kind.is_file() => End::File(id(FileKind::Regular)),
            () if kind.is_dir() => End::File(id(FileKind::Directory)),
            () if kind.is_char_device() => End::File(id(FileKind::CharacterDevice)),
            () if kind.is_block_device() => End::File(id(FileKind::BlockDevice)),
            () => End::File(id(FileKind::Other)),
        })
    }
}

/// Inodes of the TCP sockets in the network of a process: the tenth word of each line.
fn tcp_inodes(process: u32) -> HashSet<u64> {
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{process}/net/{table}"));
    let read = |path: &String| std::fs::read_to_string(path).unwrap_or_default();
    let inode = |line: &str| line.split_whitespace().nth(9)?.parse().ok();
    tables
        .iter()
        .flat_map(|path| read(path).lines().filter_map(inode).collect::<Vec<_>>())
        .collect()
}
