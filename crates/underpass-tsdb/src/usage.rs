//! What reading costs this process, as the kernel counts it: page faults, calls, memory.
//!
//! A map's pages are memory of the page cache that every process may use, so anonymous and
//! file-backed memory are told apart; the peak of both together (`ru_maxrss`) of a program that
//! maps is the size of its files.
//!
//! Source: proc(5), `/proc/pid/stat` (minflt, majflt), `/proc/pid/io`, `/proc/pid/status` (RssAnon,
//! RssFile, VmHWM).

use std::fs::read_to_string;
use std::io;

use crate::file::taken_bytes;

/// What this process has used since it began, or since an earlier [`Usage`]; memory is what it has
/// at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes that readers took from files of blocks, through maps or by pread(2).
    pub taken: u64,
    /// Page faults that a page in memory served.
    pub minor_faults: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    /// Calls of read(2) and its family.
    pub read_calls: u64,
    /// Bytes that such calls returned.
    pub read_bytes: u64,
    /// Bytes that disks read for this process.
    pub disk_bytes: u64,
    /// Memory that is this process's alone, in bytes.
    pub anonymous: u64,
    /// Pages of mapped files in memory, in bytes; the program itself is among them.
    pub file_mapped: u64,
    /// The most memory of all kinds that it ever had, in bytes.
    pub peak: u64,
}

impl Usage {
    /// Asks the kernel.
    ///
    /// # Errors
    ///
    /// If `/proc` is not there, or not as its manual page has it.
    pub fn now() -> io::Result<Self> {
        let [stat, io, status] = ["stat", "io", "status"].map(|name| format!("/proc/self/{name}"));
        let (stat, io) = (read_to_string(stat)?, read_to_string(io)?);
        let counted = Self::parse(&stat, &io, &read_to_string(status)?)
            .ok_or_else(|| io::Error::other("/proc/self is not as proc(5) has it"))?;
        Ok(Self { taken: taken_bytes(), ..counted })
    }

    fn parse(stat: &str, io: &str, status: &str) -> Option<Self> {
        let (minor_faults, major_faults) = faults(stat)?;
        Some(Self {
            taken: 0,
            minor_faults,
            major_faults,
            read_calls: field(io, "syscr:")?,
            read_bytes: field(io, "rchar:")?,
            disk_bytes: field(io, "read_bytes:")?,
            anonymous: field(status, "RssAnon:")? * 1024,
            file_mapped: field(status, "RssFile:")? * 1024,
            peak: field(status, "VmHWM:")? * 1024,
        })
    }

    /// What was added since `earlier`. Memory is not a sum and stays as it is.
    #[must_use]
    pub const fn since(self, earlier: &Self) -> Self {
        Self {
            taken: self.taken.saturating_sub(earlier.taken),
            minor_faults: self.minor_faults.saturating_sub(earlier.minor_faults),
            major_faults: self.major_faults.saturating_sub(earlier.major_faults),
            read_calls: self.read_calls.saturating_sub(earlier.read_calls),
            read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            disk_bytes: self.disk_bytes.saturating_sub(earlier.disk_bytes),
            ..self
        }
    }
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// minflt and majflt, the 10th and 12th field. The second is the program's name, which may hold
/// spaces and brackets.
fn faults(stat: &str) -> Option<(u64, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(7);
    let minor = fields.next()?.parse().ok()?;
    let major = fields.nth(1)?.parse().ok()?;
    Some((minor, major))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read_field_by_field() {
        let stat = "13645 (a) R (b) R 13628 13628 2043 0 -1 4194304 99 5 7 6 0 0 0 0 20 0 1";
        let io = "rchar: 4292\nwchar: 0\nsyscr: 13\nsyscw: 0\nread_bytes: 8192\nwrite_bytes: 1\n";
        let status = "VmHWM:\t    3000 kB\nVmRSS:\t    2000 kB\nRssAnon:\t     500 kB\n\
                      RssFile:\t    1500 kB\n";
        let expected = Usage {
            taken: 0,
            minor_faults: 99,
            major_faults: 7,
            read_calls: 13,
            read_bytes: 4_292,
            disk_bytes: 8_192,
            anonymous: 512_000,
            file_mapped: 1_536_000,
            peak: 3_072_000,
        };
        assert_eq!(Usage::parse(stat, io, status), Some(expected));
        assert_eq!(Usage::parse(stat, io, "VmHWM: 1 kB\n"), None);
    }

    #[test]
    fn counts_are_what_was_added_and_memory_is_what_there_is() {
        let before = Usage { minor_faults: 5, disk_bytes: 9, anonymous: 900, ..Usage::default() };
        let after = Usage { minor_faults: 7, disk_bytes: 8, anonymous: 100, ..Usage::default() };
        let expected = Usage { minor_faults: 2, disk_bytes: 0, anonymous: 100, ..after };
        assert_eq!(after.since(&before), expected);
    }
}
