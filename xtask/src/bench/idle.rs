//! `bench idle`: what an open connection costs a server while nothing happens on it.
//!
//! Each connection has made a request, so whatever a server keeps for one that has spoken is
//! there. Counted is anonymous memory, the heap and stacks of the server's processes; what the
//! kernel keeps for a socket is the same for all. At the end every connection is asked again:
//! a server that dropped some would look cheap.
//!
//! Source: `Documentation/filesystems/proc.rst` (smaps_rollup, Anonymous).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::process::{Resource, getrlimit, setrlimit};
use underpass_testkit::wait;

use super::peers::Peer;
use super::report::{Better, Quantity, Report};
use super::{cpu, files, http};

pub(super) const KEPT: Quantity =
    Quantity { name: "KiB/connection", better: Better::Less, decimals: 2 };
pub(super) const TOTAL: Quantity =
    Quantity { name: "MiB in all", better: Better::Neither, decimals: 1 };
pub(super) const ALIVE: Quantity =
    Quantity { name: "answered", better: Better::Neither, decimals: 0 };

pub(super) const CASE: &str = "idle";

/// The file that each connection has fetched once.
const BODY_BYTES: u64 = 1024;

/// A server may give memory back late; it is looked at until it has been the same this often.
const STEADY_LOOKS: u32 = 100;

/// How many connections and to whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Open connections.
    #[arg(long, default_value_t = 10_000)]
    connections: u32,
    /// How often each server is started and measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// The servers; the first is what the others are compared with.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nginx,underpass")]
    servers: Vec<Peer>,
}

impl Options {
    /// Just enough to see that everything still works.
    pub(crate) fn smoke(mut self) -> Self {
        (self.rounds, self.connections) = (1, 50);
        self
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let Options { connections, rounds, servers } = options;
    allow_descriptors(u64::from(*connections) + 1000)?;
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let (_, file) = files::patterned(&root, "a", BODY_BYTES)?;
    cpu::pin_here(cpu::ASKING)?;
    for _ in 0..*rounds {
        for peer in servers {
            let server = peer.start(&root, dir.path())?;
            http::verify(server.address(), "/a", &file)?;
            let before = anonymous_kib(server.id())?;
            let mut open = Vec::new();
            for i in 0..*connections {
                let mut client = TcpStream::connect(server.address())
                    .with_context(|| format!("connection {i} to {}", server.address()))?;
                fetch(&mut client).with_context(|| format!("connection {i}"))?;
                open.push(client);
            }
            let after = settled(server.id())?;
            let alive = open.iter_mut().filter_map(|client| fetch(client).ok()).count();
            let kept_kib = after.saturating_sub(before);
            sample(report, peer.name(), *connections, kept_kib, u32::try_from(alive)?)?;
            drop(open);
            server.stop()?;
        }
    }
    let whos: Vec<&str> = servers.iter().map(|peer| peer.name()).collect();
    let title = format!("{connections} idle connections, {rounds} rounds");
    report.table(CASE, &title, &whos, &[KEPT, TOTAL, ALIVE]);
    Ok(())
}

/// Notes what connections have cost one server, and how many of them it still answered.
pub(super) fn sample(
    report: &mut Report,
    who: &str,
    connections: u32,
    kept_kib: u64,
    alive: u32,
) -> Result<()> {
    let kept = f64::from(u32::try_from(kept_kib)?);
    report.sample(CASE, who, KEPT, kept / f64::from(connections));
    report.sample(CASE, who, TOTAL, kept / 1024.0);
    report.sample(CASE, who, ALIVE, f64::from(alive));
    Ok(())
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

/// One request and its whole response on an open connection.
fn fetch(client: &mut TcpStream) -> Result<()> {
    client.write_all(&http::get("/a"))?;
    let mut received = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let n = client.read(&mut buffer)?;
        ensure!(n > 0, "the server closed it");
        received.extend_from_slice(buffer.get(..n).unwrap_or_default());
        let Some(head) = http::parse_head(&received) else { continue };
        ensure!(head.status == 200, "status {}", head.status);
        if (received.len() - head.len_bytes) as u64 >= head.content_length.unwrap_or_default() {
            return Ok(());
        }
    }
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

/// Anonymous memory once it stands still.
pub(super) fn settled(process: u32) -> Result<u64> {
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
