//! What an unprivileged watcher knows: the counters of /proc/PID/io, open files and sockets.
//!
//! They count calls and not copies. sendfile(2) is counted as a read and as a write, splice(2)
//! as neither, so that no share by reference follows from them.
//!
//! Source: proc_pid_io(5).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::evidence::FileKind;
use crate::proc::Proc;
use crate::usage::Io;

/// What a process was counted to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// The process.
    pub process: u32,
    /// The name of its program.
    pub program: String,
    /// Bytes that calls of the read family and sendfile took (`rchar`).
    pub read_bytes: u64,
    /// Bytes that calls of the write family and sendfile gave (`wchar`); not those of send(2).
    pub written_bytes: u64,
    /// Calls of the one kind (`syscr`).
    pub read_calls: u64,
    /// Calls of the other (`syscw`).
    pub write_calls: u64,
    /// Regular files that it has open.
    pub open_files: BTreeSet<String>,
    /// Sockets that it has open.
    pub open_sockets: u64,
}

/// Counters of processes, at the first look and at the last, with their open files and sockets.
#[derive(Debug, Default)]
pub(crate) struct Counters(BTreeMap<u32, (Io, Io, BTreeSet<String>, u64)>);

impl Counters {
    /// Whether a process's counters may be read.
    pub(crate) fn may_read(process: u32) -> bool {
        Proc::open(process).is_some_and(|it| it.text("io").is_some())
    }

    /// Looks at a process.
    pub(crate) fn look_at(&mut self, seen: &Proc) {
        let Some(now) = seen.text("io").and_then(|io| Io::parse(&io)) else { return };
        let first = || (now, now, BTreeSet::new(), 0);
        let (_, last, files, sockets) = self.0.entry(seen.number()).or_insert_with(first);
        (*last, *sockets) = (now, 0);
        for (target, file, _) in seen.descriptors() {
            if file.kind == FileKind::Socket {
                *sockets += 1;
            } else if file.kind == FileKind::Regular && target.is_absolute() {
                files.insert(target.display().to_string());
            }
        }
    }

    /// What each process did between the looks; `program` names it.
    pub(crate) fn counted(&self, program: impl Fn(u32) -> String) -> Vec<Counted> {
        let counted = |(process, (first, last, files, sockets)): (&u32, &(Io, Io, _, u64))| {
            let since = |of: fn(&Io) -> u64| of(last).saturating_sub(of(first));
            Counted {
                process: *process,
                program: program(*process),
                read_bytes: since(|it| it.read_chars),
                written_bytes: since(|it| it.written_chars),
                read_calls: since(|it| it.read_calls),
                write_calls: since(|it| it.write_calls),
                open_files: BTreeSet::clone(files),
                open_sockets: *sockets,
            }
        };
        self.0.iter().map(counted).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_this_process_reads_between_two_looks_is_counted() {
        let own = std::process::id();
        let mut counters = Counters::default();
        counters.look_at(&Proc::open(own).unwrap());
        let mut zeros = vec![0; 1 << 20];
        std::fs::File::open("/dev/zero").unwrap().read_exact(&mut zeros).unwrap();
        counters.look_at(&Proc::open(own).unwrap());
        let counted = counters.counted(|_| "it".into());
        assert_eq!((counted.len(), counted[0].program.as_str()), (1, "it"));
        assert!(counted[0].read_bytes >= 1 << 20, "{counted:?}");
    }
}
