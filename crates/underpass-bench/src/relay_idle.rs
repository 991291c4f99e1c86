//! `bench relay`, the case of connections on which nothing moves: what each costs the relay.
//!
//! Each has carried a message there and back, so whatever a relay keeps for one that has moved
//! bytes is there. Every relay is started afresh: what one has left of the load before is not
//! counted twice. At the end each connection carries a message again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit};

use super::idle::{allow_descriptors, measure, print};
use super::relay::{MESSAGE, Relay, connect, trip};
use super::{Run, turns};

/// Descriptors other than those of the connections.
const OTHERS: u64 = 1000;

/// Opens connections through each relay, and counts its memory before and after.
pub(super) fn run(relays: &[Relay], wanted: u32, scratch: &Path, run: &mut Run) -> Result<()> {
    // A relay has two descriptors for each, and this process has its two other ends.
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let connections =
        wanted.min(u32::try_from(limit.saturating_sub(OTHERS) / 2).unwrap_or(u32::MAX).max(1));
    allow_descriptors(2 * u64::from(connections) + OTHERS)?;
    for relay in (0..run.rounds).flat_map(|round| turns(relays, round)) {
        let (who, target) = (relay.name(), target(connections)?);
        let server = relay.start(target, scratch, connections + 1)?;
        trip(&mut connect(&server)?).context(who)?;
        let open = || {
            let mut client = connect(&server)?;
            trip(&mut client).map(|()| client)
        };
        measure(&mut run.report, who, &server, connections, open, trip)?;
        server.stop()?;
    }
    print(&mut run.report, connections);
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

/// The client of the bench notices whatever breaks here.
fn serve(listener: &TcpListener, connections: u32) -> std::io::Result<()> {
    let mut open = Vec::new();
    // One is a trial.
    while open.len() <= connections as usize {
        let (mut stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        // The connection that finds out whether the relay listens carries no message.
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
