//! Which CPU a process runs on, and how much CPU time it has used.
//!
//! utime and stime in /proc/PID/stat are in clock ticks of 10 ms. A process's CPU clock counts
//! nanoseconds, kernel work and threads that have ended included, and can be read until the
//! process has been waited for.
//!
//! Source: sched_setaffinity(2); clock_getcpuclockid(3); proc_tid_children(5).

use std::fs;
use std::io;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use rustix::time::{ClockId, clock_gettime};
use underpass_sys::usage;

/// Where the server or the sender runs.
pub(crate) const SERVING: usize = 0;

/// Where the client or the reader runs.
pub(crate) const ASKING: usize = 1;

/// Binds the calling thread, and threads it starts afterwards, to one CPU. If the machine has
/// only one CPU, both sides share it; the record shows how many there are.
pub(crate) fn pin_here(cpu: usize) -> Result<()> {
    let cpu = cpu % count()?;
    underpass_measure::pin(cpu).with_context(|| format!("CPU {cpu}"))
}

/// How many CPUs the machine has, bound or not.
pub(crate) fn count() -> Result<usize> {
    let list = fs::read_to_string("/proc/cpuinfo")?;
    Ok(list.lines().filter(|line| line.starts_with("processor")).count().max(1))
}

/// A command that starts a program bound to the CPU of servers and senders.
pub(crate) fn pinned(program: impl AsRef<std::ffi::OsStr>) -> Result<Command> {
    let mut command = Command::new("taskset");
    command.args(["-c", &(SERVING % count()?).to_string()]).arg(program);
    Ok(command)
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub cpu: Duration,
    pub wall: Duration,
}

impl Spent {
    /// The share of one CPU that was used.
    pub(crate) fn busy(self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

/// Measures what a process and its descendants use from now on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    process: u32,
    used: Duration,
    start: Instant,
}

impl Meter {
    pub(crate) fn start(process: u32) -> Result<Self> {
        Ok(Self { process, used: cpu_of_family(process)?, start: Instant::now() })
    }

    pub(crate) fn stop(self) -> Result<Spent> {
        let wall = self.start.elapsed();
        Ok(Spent { cpu: cpu_of_family(self.process)?.saturating_sub(self.used), wall })
    }
}

/// Processor time that a process and its descendants have used so far, those that have ended and
/// were waited for left out.
fn cpu_of_family(process: u32) -> Result<Duration> {
    cpu_of(&family(process)?)
}

/// That of a process and descendants, which may have ended since they were listed.
fn cpu_of(family: &[u32]) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for (at, &process) in family.iter().enumerate() {
        match usage::clock_of(process) {
            Ok(used) => total += used,
            Err(Errno::SRCH | Errno::INVAL) if at > 0 => (),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(total)
}

/// A process and its descendants, from the lists of the children of each thread.
pub(crate) fn family(process: u32) -> Result<Vec<u32>> {
    let (mut found, mut next) = (vec![process], 0);
    while let Some(&parent) = found.get(next) {
        match children(parent) {
            Ok(children) => found.extend(children),
            // A descendant may end between the listing and here.
            Err(_) if next > 0 => (),
            Err(error) => return Err(error.into()),
        }
        next += 1;
    }
    Ok(found)
}

fn children(process: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        // So may a thread.
        let list = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
        found.extend(list.split_whitespace().filter_map(|number| number.parse::<u32>().ok()));
    }
    Ok(found)
}

/// Waits until a process has ended well; returns the CPU time of its whole life.
pub(crate) fn end(mut child: Child) -> Result<Duration> {
    let pid = rustix::process::Pid::from_child(&child);
    // It stays a zombie, whose clock can still be read.
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let used = cpu_of_family(child.id())?;
    let status = child.wait()?;
    ensure!(status.success(), "it ended with {status}");
    Ok(used)
}

/// CPU time used by the calling thread.
pub(crate) fn used_here() -> Result<Duration> {
    Ok(Duration::try_from(clock_gettime(ClockId::ThreadCPUTime))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_program_that_has_ended_is_finer_than_a_tick_and_failure_is_an_error() {
        let used = end(Command::new("true").spawn().unwrap()).unwrap();
        assert!(!used.is_zero(), "{used:?}");
        end(Command::new("false").spawn().unwrap()).unwrap_err();
    }

    #[test]
    fn a_family_is_a_process_with_its_children_and_their_time_counts() {
        // It ends with this process, however that ends.
        let starter = std::process::id();
        let script = format!("sh -c 'while kill -0 {starter} 2>/dev/null; do :; done' & wait");
        let mut child = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        let wait = Duration::from_secs(60);
        let found = underpass_testkit::wait::until(wait, || {
            Some(family(child.id()).unwrap()).filter(|found| found.len() > 1)
        });
        assert_eq!(found.as_ref().map(|found| found[0]), Some(child.id()), "{found:?}");
        assert!(!found.unwrap().contains(&starter));
        let grown = underpass_testkit::wait::until(wait, || {
            let own = usage::clock_of(child.id()).unwrap();
            let all = cpu_of_family(child.id()).unwrap();
            (all > own + Duration::from_millis(50)).then_some(())
        });
        for process in family(child.id()).unwrap() {
            let process = rustix::process::Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
        }
        child.wait().unwrap();
        assert!(grown.is_some());
    }

    #[test]
    fn descendants_that_have_ended_since_are_forgiven_and_the_process_itself_is_not() {
        let mut child = Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (own, ended) = (std::process::id(), child.id());
        assert!(!cpu_of(&[own, ended]).unwrap().is_zero());
        cpu_of(&[ended, own]).unwrap_err();
        family(ended).unwrap_err();
    }
}
