//! `bench relay`: TCP proxies side by side: bulk, small round trips, new connections, idle ones.
//!
//! Every relay has the same target, which runs here: it discards what a connection sends
//! (`MSG_TRUNC`, so that the relay is what is measured) or echoes it, as the first byte says.
//! The relay has one CPU, client and target share the other. The C loop only shows what splice
//! can do: it knows one direction and one connection.
//!
//! Source: tcp(7), `MSG_TRUNC`; HAProxy, configuration manual, `option splice-auto`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rustix::net::RecvFlags;
use underpass_testkit::server::{Server, free_address};

use super::report::{Better, FLOW, PRICE, Quantity, Report};
use super::{cpu, files, peers, relay_idle};
use crate::workspace;

const TRIPS: Quantity = Quantity { name: "trips/s", better: Better::More, decimals: 0 };
const TRIP: Quantity = Quantity { name: "CPU us/trip", better: Better::Less, decimals: 2 };
const OPENED: Quantity = Quantity { name: "conn/s", better: Better::More, decimals: 0 };
const OPENING: Quantity = Quantity { name: "CPU us/conn", better: Better::Less, decimals: 2 };

/// A connection that begins so is read and thrown away.
const DISCARD: u8 = b'd';

/// Any other is echoed.
pub(super) const MESSAGE: [u8; 64] = [b'e'; 64];

/// The file that is sent again and again; it stays in the page cache.
const FILE_BYTES: u64 = 64 << 20;

/// Connections that a relay has room for while it moves bytes.
const ROOM: u32 = 2000;

/// A proxy that takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Relay {
    /// HAProxy in TCP mode with `option splice-auto`.
    Haproxy,
    /// A C loop around splice(2).
    SpliceLoop,
    /// `underpass relay`, from this workspace.
    Underpass,
}

impl Relay {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::SpliceLoop => "C splice loop",
            Self::Underpass => "underpass",
        }
    }

    /// Starts it, with room for `connections` at a time.
    pub(super) fn start(
        self,
        target: SocketAddr,
        scratch: &Path,
        connections: u32,
    ) -> Result<Server> {
        let address = free_address()?;
        let mut command = match self {
            Self::Haproxy => {
                let template = workspace::root().join("bench/compare/haproxy/haproxy.cfg");
                let text = fs::read_to_string(&template)
                    .with_context(|| template.display().to_string())?
                    .replace("@LISTEN@", &address.to_string())
                    .replace("@TARGET@", &target.to_string())
                    .replace("@CONNECTIONS@", &connections.to_string());
                let file = scratch.join("haproxy.cfg");
                fs::write(&file, text)?;
                let mut command = cpu::pinned(cpu::SERVING, "haproxy")?;
                command.args(["-db", "-q", "-f"]).arg(file);
                command
            }
            Self::SpliceLoop => {
                let program = peers::compile("splice-loop/relay.c", scratch)?;
                let mut command = cpu::pinned(cpu::SERVING, program)?;
                command.arg(address.port().to_string()).arg(target.port().to_string());
                command
            }
            Self::Underpass => {
                let mut command = cpu::pinned(cpu::SERVING, peers::underpass()?)?;
                command.arg("relay").arg(address.to_string()).arg(target.to_string());
                command.args(["--workers", "1", "--log", "off"]);
                command
            }
        };
        let name = self.name();
        Server::start(&mut command, address).with_context(|| format!("{name} did not start"))
    }
}

/// How long and through whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How often each case is measured with each relay.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// MiB sent in bulk.
    #[arg(long, default_value_t = 4096)]
    mib: u64,
    /// How long small messages and new connections are counted, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Connections that are open while nothing moves on them, as far as the limit on open files
    /// allows; 0 leaves the case out.
    #[arg(long, default_value_t = 10_000)]
    idle: u32,
    /// The relays; the first is what the others are compared with.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "haproxy,splice-loop,underpass"
    )]
    relays: Vec<Relay>,
}

impl Options {
    /// Just enough to see that everything still works.
    pub(crate) fn smoke(mut self) -> Self {
        (self.rounds, self.mib, self.seconds, self.idle) = (1, 64, 0.05, 50);
        self
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let dir = files::scratch()?;
    cpu::pin_here(cpu::ASKING)?;
    let target = target()?;
    let (path, file) = files::patterned(dir.path(), "bulk", FILE_BYTES)?;
    let mut running = Vec::new();
    for relay in &options.relays {
        running.push((*relay, relay.start(target, dir.path(), ROOM)?));
    }
    for round in 0..options.rounds as usize {
        for i in 0..running.len() {
            let Some((relay, server)) = running.get((i + round) % running.len()) else { continue };
            files::warm(&path)?;
            bulk(relay.name(), server, &file, options.mib << 20, report)?;
            if *relay != Relay::SpliceLoop {
                trips(relay.name(), server, options.seconds, report)?;
                openings(relay.name(), server, options.seconds, report)?;
            }
        }
    }
    let all: Vec<&str> = options.relays.iter().map(|relay| relay.name()).collect();
    let whole: Vec<&str> =
        all.iter().copied().filter(|name| *name != Relay::SpliceLoop.name()).collect();
    let Options { rounds, mib, .. } = options;
    report.table("bulk", &format!("{mib} MiB, {rounds} rounds"), &all, &[FLOW, PRICE]);
    report.table("trips", "64 B to and fro, 1 connection", &whole, &[TRIPS, TRIP]);
    report.table("openings", "connections of one 64 B trip", &whole, &[OPENED, OPENING]);
    for (_, server) in running {
        server.stop()?;
    }
    if options.idle > 0 {
        let mut relays = options.relays.clone();
        relays.retain(|relay| *relay != Relay::SpliceLoop);
        relay_idle::run(&relays, options.idle, dir.path(), report)?;
    }
    Ok(())
}

/// The target of all relays; it runs until the bench ends.
fn target() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming() {
            // A connection that breaks is noticed by the client of the bench.
            thread::spawn(move || connection.and_then(answer));
        }
    });
    Ok(address)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; 1 << 16];
    let mut len = stream.read(&mut buffer)?;
    if buffer.first() == Some(&DISCARD) {
        while rustix::net::recv(&stream, &mut buffer, RecvFlags::TRUNC)?.1 > 0 {}
        return Ok(());
    }
    while len > 0 {
        stream.write_all(buffer.get(..len).unwrap_or_default())?;
        len = stream.read(&mut buffer)?;
    }
    Ok(())
}

pub(super) fn connect(server: &Server) -> Result<TcpStream> {
    let stream = TcpStream::connect(server.address())?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    Ok(stream)
}

/// Sends the file until `bytes` have gone, and waits until the target has them all.
fn bulk(who: &str, server: &Server, file: &File, bytes: u64, report: &mut Report) -> Result<()> {
    let mut stream = connect(server)?;
    stream.write_all(&[DISCARD])?;
    let (before, start) = (cpu::used_by(server.id())?, Instant::now());
    let mut left = bytes;
    while left > 0 {
        let mut at = 0;
        while at < FILE_BYTES && left > 0 {
            let wanted = usize::try_from(left.min(FILE_BYTES - at))?;
            left -= rustix::fs::sendfile(&stream, file, Some(&mut at), wanted)? as u64;
        }
    }
    stream.shutdown(Shutdown::Write)?;
    ensure!(stream.read(&mut [0])? == 0, "{who}: the target sends nothing");
    let took = start.elapsed().as_secs_f64();
    let used = (cpu::used_by(server.id())? - before).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "gigabytes")]
    let gigabytes = bytes as f64 / 1e9;
    report.sample("bulk", who, FLOW, gigabytes / took);
    report.sample("bulk", who, PRICE, used / gigabytes);
    Ok(())
}

pub(super) fn trip(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&MESSAGE)?;
    let mut back = [0; MESSAGE.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == MESSAGE, "another message came back");
    Ok(())
}

/// Repeats something for a while; gives how often a second, and the relay's CPU us for each.
fn repeat(
    server: &Server,
    seconds: f64,
    mut once: impl FnMut() -> Result<()>,
) -> Result<(f64, f64)> {
    let limit = Duration::from_secs_f64(seconds);
    let (before, start) = (cpu::used_by(server.id())?, Instant::now());
    let mut count = 0.0;
    while start.elapsed() < limit {
        once()?;
        count += 1.0;
    }
    let took = start.elapsed().as_secs_f64();
    let used = (cpu::used_by(server.id())? - before).as_secs_f64();
    Ok((count / took, used * 1e6 / count))
}

fn trips(who: &str, server: &Server, seconds: f64, report: &mut Report) -> Result<()> {
    let mut stream = connect(server)?;
    trip(&mut stream)?;
    let (rate, cost) = repeat(server, seconds, || trip(&mut stream)).context(who.to_owned())?;
    report.sample("trips", who, TRIPS, rate);
    report.sample("trips", who, TRIP, cost);
    Ok(())
}

fn openings(who: &str, server: &Server, seconds: f64, report: &mut Report) -> Result<()> {
    let open = || connect(server).and_then(|mut stream| trip(&mut stream));
    let (rate, cost) = repeat(server, seconds, open).context(who.to_owned())?;
    report.sample("openings", who, OPENED, rate);
    report.sample("openings", who, OPENING, cost);
    Ok(())
}
