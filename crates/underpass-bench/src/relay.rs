//! `bench relay`: TCP proxies side by side: bulk, small round trips, new connections, idle ones.
//!
//! Every relay has the same target, which runs here: it discards what a connection sends
//! (`MSG_TRUNC`, to measure the relay and not the target) or echoes it, as the first byte says.
//! The relay has one CPU; client and target share the other. The C loop only shows what splice
//! can do: it knows one direction and one connection.
//!
//! New connections come in groups. With one at a time the relay sleeps between the steps of each,
//! and what is counted is how fast two CPUs wake each other; the target's threads are there
//! beforehand for the same reason.
//!
//! Source: HAProxy, configuration manual, `option splice-auto`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use underpass_testkit::server::{Server, free_address};

use super::cpu::Meter;
use super::peers::{Build, compile, fill_in};
use super::report::{BUSY, Better, FLOW, PRICE, Quantity, Report};
use super::{Run, cpu, drain, files, relay_idle, turns};

const TRIP: Quantity = Quantity { name: "CPU us/trip", better: Better::Less, decimals: 2 };
const TRIPS: Quantity = Quantity { name: "trips/s", better: Better::More, decimals: 0 };
const OPENING: Quantity = Quantity { name: "CPU us/conn", better: Better::Less, decimals: 2 };
const OPENED: Quantity = Quantity { name: "conn/s", better: Better::More, decimals: 0 };

/// A connection that begins so is read and thrown away.
const DISCARD: u8 = b'd';

/// Any other is echoed.
pub(super) const MESSAGE: [u8; 64] = [b'e'; 64];

/// The file that is sent again and again; it stays in the page cache.
const FILE_BYTES: u64 = 64 << 20;

/// Connections that a relay has room for while it moves bytes.
const ROOM: u32 = 2000;

/// New connections at a time.
const GROUP: usize = 16;

/// A proxy that takes part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Relay {
    /// HAProxy in TCP mode with `option splice-auto`.
    Haproxy,
    /// A C loop around splice(2).
    SpliceLoop,
    Underpass(Build),
}

impl Relay {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::SpliceLoop => "C splice loop",
            Self::Underpass(build) => build.name,
        }
    }

    /// Starts it, with room for `connections` at a time.
    pub(super) fn start(
        &self,
        target: SocketAddr,
        scratch: &Path,
        connections: u32,
    ) -> Result<Server> {
        let address = free_address()?;
        let mut command = match self {
            Self::Haproxy => {
                let words = [
                    ("@LISTEN@", address.to_string()),
                    ("@TARGET@", target.to_string()),
                    ("@CONNECTIONS@", connections.to_string()),
                ];
                let mut command = cpu::pinned("haproxy")?;
                command.args(["-db", "-q", "-f"]);
                command.arg(fill_in("haproxy/haproxy.cfg", &words, scratch)?);
                command
            }
            Self::SpliceLoop => {
                let mut command = cpu::pinned(compile("splice-loop/relay.c", scratch)?)?;
                command.arg(address.port().to_string()).arg(target.port().to_string());
                command
            }
            Self::Underpass(build) => {
                let mut command = build.command("relay")?;
                command.arg(address.to_string()).arg(target.to_string());
                command.args(["--workers", "1", "--log", "off"]);
                command
            }
        };
        let name = self.name();
        Server::start(&mut command, address).with_context(|| format!("{name} did not start"))
    }
}

/// How much and for how long.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// MiB sent in bulk.
    #[arg(long, default_value_t = 4096)]
    mib: u64,
    /// How long small messages and new connections are counted, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Connections that are open while nothing moves on them, as far as the limit on open files
    /// allows; 0 leaves the case out.
    #[arg(long, default_value_t = 10_000)]
    idle: u32,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { mib: 64, seconds: 0.05, idle: 50 } } else { self }
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let dir = files::scratch()?;
    cpu::pin_here(cpu::ASKING)?;
    let target = target()?;
    let (path, file) = files::patterned(dir.path(), "bulk", FILE_BYTES)?;
    let relays = [Relay::Haproxy, Relay::SpliceLoop];
    let mut relays = run.field(relays, Relay::Underpass, Relay::name)?;
    let mut running = Vec::new();
    for relay in relays.clone() {
        let server = relay.start(target, dir.path(), ROOM)?;
        running.push((relay, server));
    }
    let seconds = options.seconds;
    for round in 0..run.rounds {
        for (relay, server) in turns(&running, round) {
            let who = relay.name();
            run.warm(&path, who)?;
            bulk(who, server, &file, options.mib << 20, &mut run.report)?;
            if *relay != Relay::SpliceLoop {
                trips(who, server, seconds, &mut run.report)?;
                openings(who, server, seconds, &mut run.report)?;
            }
        }
    }
    let report = &mut run.report;
    report.table("bulk", &format!("{} MiB, 1 connection", options.mib), &[PRICE, FLOW]);
    report.table("trips", "64 B there and back, 1 connection", &[TRIP, TRIPS, BUSY]);
    let title = format!("connections of one trip, {GROUP} at once");
    report.table("openings", &title, &[OPENING, OPENED, BUSY]);
    for (_, server) in running {
        server.stop()?;
    }
    relays.retain(|relay| *relay != Relay::SpliceLoop);
    if options.idle > 0 {
        relay_idle::run(&relays, options.idle, dir.path(), run)?;
    }
    Ok(())
}

/// The target of all relays; it runs until the bench ends.
fn target() -> Result<SocketAddr> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    let address = listener.local_addr()?;
    // One that a relay has not closed yet must not hold up the next group.
    for _ in 0..4 * GROUP {
        let listener = Arc::clone(&listener);
        thread::spawn(move || {
            for connection in listener.incoming() {
                // The client of the bench notices a connection that breaks.
                drop(connection.and_then(answer));
            }
        });
    }
    Ok(address)
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; 1 << 12];
    let mut len = stream.read(&mut buffer)?;
    if buffer.first() == Some(&DISCARD) {
        return drain::discard(&stream).map(drop);
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
    let meter = Meter::start(server.id())?;
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
    report.moved("bulk", who, bytes, meter.stop()?);
    Ok(())
}

pub(super) fn trip(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(&MESSAGE)?;
    comes_back(stream)
}

fn comes_back(stream: &mut TcpStream) -> Result<()> {
    let mut back = [0; MESSAGE.len()];
    stream.read_exact(&mut back)?;
    ensure!(back == MESSAGE, "another message came back");
    Ok(())
}

fn trips(who: &str, server: &Server, seconds: f64, report: &mut Report) -> Result<()> {
    let mut stream = connect(server)?;
    trip(&mut stream)?;
    repeat("trips", [TRIP, TRIPS], who, server, seconds, report, || trip(&mut stream).map(|()| 1))
}

fn openings(who: &str, server: &Server, seconds: f64, report: &mut Report) -> Result<()> {
    repeat("openings", [OPENING, OPENED], who, server, seconds, report, || {
        let mut group = Vec::with_capacity(GROUP);
        for _ in 0..GROUP {
            let mut stream = connect(server)?;
            stream.write_all(&MESSAGE)?;
            group.push(stream);
        }
        group.iter_mut().try_for_each(comes_back).map(|()| GROUP)
    })
}

/// Repeats something for a while and keeps what each cost and how many there were a second.
fn repeat(
    case: &str,
    [cost, rate]: [Quantity; 2],
    who: &str,
    server: &Server,
    seconds: f64,
    report: &mut Report,
    mut some: impl FnMut() -> Result<usize>,
) -> Result<()> {
    let limit = Duration::from_secs_f64(seconds);
    let (meter, start, mut count) = (Meter::start(server.id())?, Instant::now(), 0);
    while start.elapsed() < limit {
        count += some().with_context(|| format!("{who}: {case}"))?;
    }
    let spent = meter.stop()?;
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
    let count = count as f64;
    report.sample(case, who, cost, spent.cpu.as_secs_f64() * 1e6 / count);
    report.sample(case, who, rate, count / spent.wall.as_secs_f64());
    report.sample(case, who, BUSY, spent.busy());
    Ok(())
}
