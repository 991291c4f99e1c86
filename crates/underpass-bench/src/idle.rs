//! `bench idle`: what an open connection costs a server while nothing happens on it.
//!
//! Each connection has made a request, so whatever a server keeps for one that has spoken is
//! there. Counted is anonymous memory, the heap and stacks of the server's processes; what the
//! kernel keeps for a socket is the same for all. At the end every connection is asked again:
//! a server that dropped some would look cheap.
//!
//! Source: `Documentation/filesystems/proc.rst` (smaps_rollup, Anonymous).

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use underpass_testkit::server::Server;
use underpass_testkit::wait;

use super::load::{Asking, Room};
use super::peers::Peer;
use super::report::{Better, Quantity, Report};
use super::secured::Secured;
use super::way::{Choice, Way};
use super::{Run, cpu, files, load, turns};

const KEPT: Quantity = Quantity { name: "KiB/connection", better: Better::Less, decimals: 2 };
const TOTAL: Quantity = Quantity { name: "MiB in all", better: Better::Neither, decimals: 1 };
const ALIVE: Quantity = Quantity { name: "answered", better: Better::Neither, decimals: 0 };

const CASE: &str = "idle";

/// The file that each connection has fetched once.
const BODY_BYTES: u64 = 1024;

/// A server may give memory back late; it has settled when it is the same this many times.
const STEADY_LOOKS: u32 = 100;

/// How many connections.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Open connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    #[command(flatten)]
    way: Choice,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { connections: 50, ..self } } else { self }
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let connections = options.connections;
    allow_descriptors(u64::from(connections) + 1000)?;
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let (file, _) = files::patterned(&root, "a", BODY_BYTES)?;
    cpu::pin_here(cpu::ASKING)?;
    let way = Way::new(options.way, dir.path())?;
    let peers = run.field([Peer::Nginx], Peer::Underpass, Peer::name)?;
    for round in 0..run.rounds {
        for peer in turns(&peers, round) {
            let server = peer.start_over(&way, &root, dir.path())?;
            let (report, who, address) = (&mut run.report, peer.name(), server.address());
            if way.is_http2 {
                let open = || {
                    let mut asking = way.framed(TcpStream::connect(address)?)?;
                    asking.ask_and_wait("/a", BODY_BYTES).map(|()| asking)
                };
                measure(report, who, &server, connections, open, |asking| {
                    asking.ask_and_wait("/a", BODY_BYTES)
                })?;
            } else if let Some(trusted) = &way.tls {
                let open = || {
                    let mut asking = Secured::new(address, "/a", BODY_BYTES, trusted)?;
                    asking.ask_and_wait().map(|()| asking)
                };
                measure(report, who, &server, connections, open, Secured::ask_and_wait)?;
            } else {
                load::verify(address, "/a", &file)?;
                let open = || {
                    let mut asking = Asking::new(address, "/a", BODY_BYTES)?;
                    asking.ask_and_wait(&mut Room::new()).map(|()| asking)
                };
                measure(report, who, &server, connections, open, |asking| {
                    asking.ask_and_wait(&mut Room::new())
                })?;
            }
            server.stop()?;
        }
    }
    print(&mut run.report, connections);
    Ok(())
}

/// Opens connections and keeps what memory they have cost, and how many still answer.
pub(super) fn measure<C>(
    report: &mut Report,
    who: &str,
    server: &Server,
    connections: u32,
    open: impl Fn() -> Result<C>,
    is_alive: impl Fn(&mut C) -> Result<()>,
) -> Result<()> {
    let before = anonymous_kib(server.id())?;
    let mut all = Vec::new();
    for i in 0..connections {
        all.push(open().with_context(|| format!("{who}, connection {i}"))?);
    }
    let kept_kib = settled(server.id())?.saturating_sub(before);
    let alive = all.iter_mut().filter_map(|one| is_alive(one).ok()).count();
    let kept = f64::from(u32::try_from(kept_kib)?);
    report.sample(CASE, who, KEPT, kept / f64::from(connections));
    report.sample(CASE, who, TOTAL, kept / 1024.0);
    report.sample(CASE, who, ALIVE, f64::from(u32::try_from(alive)?));
    Ok(())
}

/// Prints what [`measure`] has kept.
pub(super) fn print(report: &mut Report, connections: u32) {
    report.table(CASE, &format!("{connections} idle connections"), &[KEPT, TOTAL, ALIVE]);
}

/// Raises the limit that the servers started from here inherit.
pub(super) fn allow_descriptors(wanted: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = |limit: Option<u64>| limit.is_none_or(|limit| limit >= wanted);
    if !allowed(limit.current) {
        limit.current = Some(wanted);
        if !allowed(limit.maximum) {
            limit.maximum = Some(wanted);
        }
        setrlimit(Resource::Nofile, limit)
            .with_context(|| format!("{wanted} open files (RLIMIT_NOFILE)"))?;
    }
    Ok(())
}

/// Anonymous memory of a process and its descendants, in KiB.
pub(super) fn anonymous_kib(process: u32) -> Result<u64> {
    let mut sum = 0;
    for id in cpu::family(process)? {
        let path = format!("/proc/{id}/smaps_rollup");
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        sum += kib.context("smaps_rollup has no Anonymous")?.parse::<u64>()?;
    }
    Ok(sum)
}

/// Anonymous memory once it stays the same.
fn settled(process: u32) -> Result<u64> {
    let (mut last, mut looks) = (anonymous_kib(process)?, 0);
    let steady = wait::until(Duration::from_secs(30), || {
        let now = anonymous_kib(process);
        match now {
            Ok(now) if now == last => looks += 1,
            Ok(now) => (last, looks) = (now, 0),
            Err(error) => return Some(Err(error)),
        }
        (looks == STEADY_LOOKS).then_some(Ok(last))
    });
    steady.context("the server's memory changes all the time")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_a_process_touches_is_counted_as_anonymous() {
        let before = anonymous_kib(std::process::id()).unwrap();
        let touched = vec![1_u8; 8 << 20];
        let after = anonymous_kib(std::process::id()).unwrap();
        assert!(after >= before + (4 << 10), "{before} KiB, then {after} KiB");
        assert_eq!(touched.iter().map(|&byte| u64::from(byte)).sum::<u64>(), 8 << 20);
    }
}
