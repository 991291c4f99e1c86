//! What an unprivileged watcher knows: the counters of /proc/PID/io, open files and sockets.
//!
//! They count calls and not copies. sendfile(2) is counted as a read and as a write, splice(2)
//! as neither, so that no share by reference follows from them.
//!
//! Source: proc_pid_io(5).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use crate::explain::proc;

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

/// Counters of processes, at the first look and at the last.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    first: BTreeMap<u32, BTreeMap<String, u64>>,
    last: BTreeMap<u32, BTreeMap<String, u64>>,
    open: BTreeMap<u32, (BTreeSet<String>, u64)>,
}

impl Counters {
    /// Whether a process's counters may be read.
    pub(crate) fn may_read(process: u32) -> bool {
        std::fs::read_to_string(format!("/proc/{process}/io")).is_ok()
    }

    /// Looks at processes.
    pub(crate) fn look_at(&mut self, processes: impl IntoIterator<Item = u32>) {
        for process in processes {
            let base = format!("/proc/{process}");
            let Ok(io) = std::fs::read_to_string(format!("{base}/io")) else { continue };
            let counters = proc::counters(&io);
            self.first.entry(process).or_insert_with(|| counters.clone());
            self.last.insert(process, counters);
            self.look_at_descriptors(process, Path::new(&base));
        }
    }

    fn look_at_descriptors(&mut self, process: u32, base: &Path) {
        let Ok(entries) = std::fs::read_dir(base.join("fd")) else { return };
        let (files, sockets) = self.open.entry(process).or_default();
        *sockets = 0;
        for path in entries.flatten().map(|entry| entry.path()) {
            let Ok(target) = std::fs::read_link(&path) else { continue };
            let is_file = std::fs::metadata(&path).is_ok_and(|metadata| metadata.is_file());
            if target.to_string_lossy().starts_with("socket:") {
                *sockets += 1;
            } else if is_file {
                files.insert(target.display().to_string());
            }
        }
    }

    /// What each process did between the looks; `program` names it.
    pub(crate) fn counted(&self, program: impl Fn(u32) -> String) -> Vec<Counted> {
        let counted = |(process, last): (&u32, &BTreeMap<String, u64>)| {
            let since = |name: &str| {
                let value = |counters: &BTreeMap<String, u64>| counters.get(name).copied();
                let first = self.first.get(process).and_then(value).unwrap_or(0);
                value(last).unwrap_or(0).saturating_sub(first)
            };
            let (open_files, open_sockets) = self.open.get(process).cloned().unwrap_or_default();
            Counted {
                process: *process,
                program: program(*process),
                read_bytes: since("rchar"),
                written_bytes: since("wchar"),
                read_calls: since("syscr"),
                write_calls: since("syscw"),
                open_files,
                open_sockets,
            }
        };
        self.last.iter().map(counted).collect()
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
        counters.look_at([own]);
        let mut zeros = vec![0; 1 << 20];
        std::fs::File::open("/dev/zero").unwrap().read_exact(&mut zeros).unwrap();
        counters.look_at([own]);
        let counted = counters.counted(|_| "it".into());
        assert_eq!((counted.len(), counted[0].program.as_str()), (1, "it"));
        assert!(counted[0].read_bytes >= 1 << 20, "{counted:?}");
    }
}
