//! `--usage`: what reading cost, as a line on standard error.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use underpass_tsdb::{Backend, Usage};

use crate::exit::say;

/// Whether it is told what reading cost.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct UsageArgument {
    /// Say on standard error what reading cost: page faults, calls, bytes from disks, memory.
    ///
    /// Run a command with '--read map' and with '--read pread' to compare the two. Pages of maps
    /// count as RssFile, as does the program itself: they belong to the page cache, and the kernel
    /// takes them back when it needs memory. The peak is of both kinds of memory together.
    #[arg(long)]
    usage: bool,
}

/// What the process had used when the command began.
#[derive(Debug)]
#[must_use = "tell what was used when the command is done"]
pub(crate) struct Begun(Option<Usage>);

impl UsageArgument {
    /// Begins to count, before blocks are opened.
    pub(crate) fn begin(self) -> Begun {
        Begun(self.usage.then(Usage::now).and_then(Result::ok))
    }
}

impl Begun {
    /// Says what was used since, while the blocks are still open.
    pub(crate) fn tell(self, command: &str, backend: Backend) {
        let Self(Some(before)) = self else { return };
        match Usage::now() {
            Ok(now) => say(&line(command, backend, &now.since(&before))),
            Err(error) => say(&format!("underpass tsdb {command}: no usage is known: {error}")),
        }
    }
}

fn line(command: &str, backend: Backend, usage: &Usage) -> String {
    let how = match backend {
        Backend::Map => "map",
        Backend::Pread => "pread",
    };
    format!(
        "underpass tsdb {command}: by {how}: {taken} copied from files, {disk} read from disks; \
         {calls} read calls of {read}; {minor} minor and {major} major page faults; \
         RssAnon {anonymous}, RssFile {mapped}, peak {peak}",
        taken = HumanBytes(usage.taken),
        disk = HumanBytes(usage.disk_bytes),
        calls = HumanCount(usage.read_calls),
        read = HumanBytes(usage.read_bytes),
        minor = HumanCount(usage.minor_faults),
        major = HumanCount(usage.major_faults),
        anonymous = HumanBytes(usage.anonymous),
        mapped = HumanBytes(usage.file_mapped),
        peak = HumanBytes(usage.peak),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_each_figure_with_its_unit() {
        let usage = Usage {
            taken: 1 << 20,
            minor_faults: 6_774,
            major_faults: 2,
            read_calls: 12,
            read_bytes: 9_728,
            disk_bytes: 0,
            anonymous: 10 << 20,
            file_mapped: 24 << 20,
            peak: 37 << 20,
        };
        assert_eq!(
            line("dump", Backend::Map, &usage),
            "underpass tsdb dump: by map: 1.00 MiB copied from files, 0 B read from disks; 12 read \
             calls of 9.50 KiB; 6,774 minor and 2 major page faults; RssAnon 10.00 MiB, RssFile \
             24.00 MiB, peak 37.00 MiB"
        );
    }
}
