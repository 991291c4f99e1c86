//! Which CPU a process runs on, and how much of it a process has used.
//!
//! utime and stime of /proc/PID/stat have the resolution of the clock tick, 10 ms; schedstat
//! counts nanoseconds on the CPU, kernel work included, and is read here, for every thread of a
//! process and of its children.
//!
//! Source: sched_setaffinity(2), `Documentation/scheduler/sched-stats.rst` (/proc/PID/schedstat),
//! proc(5).

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Where the server or the sender runs.
pub(crate) const SERVING: usize = 0;

/// Where the client or the reader runs.
pub(crate) const ASKING: usize = 1;

/// Binds the calling thread, and threads it starts afterwards, to one CPU. On a machine with
/// one CPU both sides share it, which the record says.
pub(crate) fn pin_here(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu % count()?);
    sched_setaffinity(None, &set).with_context(|| format!("CPU {cpu}"))
}

/// How many CPUs the machine has, bound or not.
pub(crate) fn count() -> Result<usize> {
    let list = fs::read_to_string("/proc/cpuinfo")?;
    Ok(list.lines().filter(|line| line.starts_with("processor")).count().max(1))
}

/// A command that starts a program bound to one CPU.
pub(crate) fn pinned(cpu: usize, program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["-c", &(cpu % count()?).to_string()]).arg(program);
    Ok(command)
}

/// CPU time used so far by a process, its threads and its descendants.
pub(crate) fn used_by(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for id in family(process)? {
        let tasks = format!("/proc/{id}/task");
        for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
            let file = task?.path().join("schedstat");
            let line = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let on_cpu = line.split(' ').next().context("schedstat is empty")?;
            nanos += on_cpu.parse::<u64>().context("schedstat does not start with a number")?;
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// A process and its descendants, from the parent field of /proc/PID/stat.
pub(crate) fn family(process: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and here.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let parent = after_name.split(' ').nth(1).and_then(|field| field.parse::<u32>().ok());
        parents.push((id, parent.context("stat has no parent field")?));
    }
    let mut found = vec![process];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(id, _)| id));
        next += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_a_process_with_its_children_and_their_cpu_time_grows() {
        let mut child = Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
        let found = family(std::process::id()).unwrap();
        assert!(found.contains(&child.id()) && found.contains(&std::process::id()));
        assert!(!found.contains(&1));
        let before = used_by(child.id()).unwrap();
        let grown = underpass_testkit::wait::until(Duration::from_secs(10), || {
            (used_by(child.id()).unwrap() > before).then_some(())
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(grown.is_some(), "{before:?}");
    }
}
