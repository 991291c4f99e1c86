//! `bench relay`, the case of connections on which nothing moves: what each costs the relay.
//!
//! Each has carried a message to and fro, so whatever a relay keeps for one that has moved bytes
//! is there. Every relay is started afresh: what one has left of the load before is not counted
//! twice. At the end each connection carries a message again.
//!
//! Source: `Documentation/filesystems/proc.rst` (smaps_rollup, Anonymous).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit};

use super::idle::{ALIVE, CASE, KEPT, TOTAL, allow_descriptors, anonymous_kib, sample, settled};
use super::relay::{MESSAGE, Relay, connect, trip};
use super::report::Report;

/// Descriptors besides those of the connections.
const OTHERS: u64 = 1000;

/// Opens connections through each relay, and counts its memory before and after.
pub(super) fn run(
    relays: &[Relay],
    wanted: u32,
    scratch: &Path,
    report: &mut Report,
) -> Result<()> {
    // A relay has two descriptors for each, and this process has its two other ends.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let connections =
        wanted.min(u32::try_from(limit.saturating_sub(OTHERS) / 2).unwrap_or(u32::MAX).max(1));
    allow_descriptors(2 * u64::from(connections) + OTHERS)?;
    for relay in relays {
        let (who, target) = (relay.name(), target(connections)?);
        let server = relay.start(target, scratch, connections + 1)?;
        trip(&mut connect(&server)?).context(who)?;
        let before = anonymous_kib(server.id())?;
        let mut open = Vec::new();
        for i in 0..connections {
            let mut client = connect(&server)?;
            trip(&mut client).with_context(|| format!("{who}, connection {i}"))?;
            open.push(client);
        }
        let kept_kib = settled(server.id())?.saturating_sub(before);
        let alive = open.iter_mut().filter_map(|client| trip(client).ok()).count();
        sample(report, who, connections, kept_kib, u32::try_from(alive)?)?;
        drop(open);
        server.stop()?;
    }
    let whos: Vec<&str> = relays.iter().map(|relay| relay.name()).collect();
    report.table(CASE, &format!("{connections} idle connections"), &whos, &[KEPT, TOTAL, ALIVE]);
    Ok(())
}

/// A target that carries one message on each connection as it comes, the trial included,
/// and then one more on each of the others, in the same order.
fn target(connections: u32) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || serve(&listener, connections));
    Ok(address)
}

/// Whatever breaks is noticed by the client of the bench.
fn serve(listener: &TcpListener, connections: u32) -> std::io::Result<()> {
    let mut open = Vec::new();
    // One is a trial.
    while open.len() <= connections as usize {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // Whoever finds out whether the relay listens has nothing to say.
        if echo(&mut stream).is_ok() {
            open.push(stream);
        }
    }
    open.iter_mut().skip(1).try_for_each(echo)
}

fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut message = [0; MESSAGE.len()];
    stream.read_exact(&mut message)?;
    stream.write_all(&message)
}
