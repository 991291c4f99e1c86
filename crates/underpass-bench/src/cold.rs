//! `bench cold`: what one client that reads a cold file costs the others.
//!
//! One connection downloads a file that is not in the page cache, from a disk slowed to 1 MiB/s.
//! Another asks for a small cached file a thousand times a second, by a fixed schedule: a
//! response is late from the moment it was due to be asked for, so a server that stalls cannot
//! hide the requests that were not sent meanwhile. Those that could not be sent before the end
//! count with the time they had been due, which is less than they would have taken.
//!
//! Over HTTP/2 the other is measured twice: as another connection, and as another stream of the
//! one that downloads.
//!
//! Source: `underpass_testkit::disk` for the throttle (block-I/O cgroup), root only.

use std::io::Read;
use std::net::{Shutdown, TcpStream};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use rustix::net::{SendFlags, send};
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::server::Server;

use super::load::{Asking, Room};
use super::peers::Peer;
use super::report::{Better, Quantity, Report};
use super::secured::Secured;
use super::way::{Choice, Way};
use super::{Run, cpu, files, load, stats, turns};

const HALF: Quantity = Quantity { name: "p50 ms", better: Better::Less, decimals: 3 };
const TAIL: Quantity = Quantity { name: "p99 ms", better: Better::Less, decimals: 3 };
const MAX: Quantity = Quantity { name: "max ms", better: Better::Less, decimals: 2 };
const FLOW: Quantity = Quantity { name: "cold MiB/s", better: Better::Neither, decimals: 2 };

const CASE: &str = "cold";

/// The hot file and the cold one over the same connection.
const SAME: &str = "same connection";

const READS_BYTES_PER_S: u64 = 1 << 20;

/// Between two requests of the hot client.
const PERIOD: Duration = Duration::from_millis(1);

const HOT_BYTES: u64 = 4 << 10;

/// How long.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// How long the hot client asks, in seconds.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    #[command(flatten)]
    way: Choice,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { seconds: 2.5, ..self } } else { self }
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let dir = files::scratch()?;
    let mut disk = Disk::new(FileSystem::Ext4, 128 << 20).map_err(|m| anyhow!("{}", m.why()))?;
    // Larger than what can be read in the time.
    let seconds = Duration::from_secs_f64(options.seconds);
    let cold_bytes = READS_BYTES_PER_S * (seconds.as_secs() + 8);
    let (hot, _) = files::patterned(disk.path(), "hot", HOT_BYTES)?;
    let (_, cold) = files::patterned(disk.path(), "cold", cold_bytes)?;
    cpu::pin_here(cpu::ASKING)?;
    let way = Way::new(options.way, dir.path())?;
    let peers = run.field([Peer::Nginx, Peer::NginxThreads], Peer::Underpass, Peer::name)?;
    let cases = if way.is_http2 { &[CASE, SAME][..] } else { &[CASE] };
    for round in 0..run.rounds {
        for (peer, case) in
            turns(&peers, round).flat_map(|peer| cases.iter().map(move |it| (peer, it)))
        {
            disk.throttle_reads(READS_BYTES_PER_S).map_err(|m| anyhow!("{}", m.why()))?;
            let server = peer.start_over(&way, disk.path(), dir.path())?;
            if way.tls.is_none() && !way.is_http2 {
                load::verify(server.address(), "/hot", &hot)?;
            }
            Disk::evict(&cold)?;
            let measured = measure(&server, &way, case == &SAME, seconds, cold.metadata()?.len())
                .and_then(|measured| measured.keep(case, peer.name(), &mut run.report));
            // A server that waits for the disk cannot stop before it has it.
            disk.release_reads();
            measured?;
            server.stop()?;
        }
    }
    for case in cases {
        let over = if case == &SAME { " by another stream" } else { way.told() };
        let title = format!("hot 4 KiB at 1 kHz{over}, {} s", options.seconds);
        run.report.table(case, &title, &[TAIL, HALF, MAX, FLOW]);
    }
    Ok(())
}

/// What one measurement gave.
struct Measured {
    /// In milliseconds.
    latencies: Vec<f64>,
    /// Bytes of the cold file, and in how many seconds they came.
    came: u64,
    elapsed: f64,
}

fn measure(
    server: &Server,
    way: &Way,
    is_same: bool,
    seconds: Duration,
    cold_bytes: u64,
) -> Result<Measured> {
    let (address, start) = (server.address(), Instant::now());
    let (other, reading, latencies);
    if way.is_http2 {
        let mut reader = way.framed(TcpStream::connect(address)?)?;
        if is_same {
            // The handshake is not measured.
            reader.ask_and_wait("/hot", HOT_BYTES)?;
            reader.ask("/cold", None)?;
            let latencies = hot(seconds, || reader.ask_and_wait("/hot", HOT_BYTES))?;
            let (came, elapsed) = (reader.passed_bytes(), start.elapsed().as_secs_f64());
            return Ok(Measured { latencies, came, elapsed });
        }
        reader.ask("/cold", None)?;
        let mut asking = way.framed(TcpStream::connect(address)?)?;
        asking.ask_and_wait("/hot", HOT_BYTES)?;
        other = reader.socket().try_clone()?;
        reading = std::thread::spawn(move || reader.count());
        latencies = hot(seconds, || asking.ask_and_wait("/hot", HOT_BYTES))?;
    } else if let Some(trusted) = &way.tls {
        let reader = Secured::new(address, "/cold", cold_bytes, trusted)?;
        let mut asking = Secured::new(address, "/hot", HOT_BYTES, trusted)?;
        asking.ask_and_wait()?;
        other = reader.socket().try_clone()?;
        reading = std::thread::spawn(move || reader.count());
        latencies = hot(seconds, || asking.ask_and_wait())?;
    } else {
        let reader = TcpStream::connect(address)?;
        let request = load::get("/cold");
        ensure!(send(&reader, &request, SendFlags::NOSIGNAL)? == request.len(), "a short send");
        other = reader.try_clone()?;
        reading = std::thread::spawn(move || count(reader));
        let (mut asking, mut room) = (Asking::new(address, "/hot", HOT_BYTES)?, Room::new());
        latencies = hot(seconds, || asking.ask_and_wait(&mut room))?;
    }
    other.shutdown(Shutdown::Both)?;
    let elapsed = start.elapsed().as_secs_f64();
    let came = reading.join().map_err(|_| anyhow!("the cold reader panicked"))?;
    Ok(Measured { latencies, came, elapsed })
}

impl Measured {
    fn keep(self, case: &str, who: &str, report: &mut Report) -> Result<()> {
        let Self { mut latencies, came, elapsed } = self;
        ensure!(came > 0, "{who}: nothing of the cold file came");
        latencies.sort_by(f64::total_cmp);
        report.sample(case, who, HALF, stats::quantile(&latencies, 0.5));
        report.sample(case, who, TAIL, stats::quantile(&latencies, 0.99));
        report.sample(case, who, MAX, stats::quantile(&latencies, 1.0));
        let came = f64::from(u32::try_from(came).context("less than 4 GiB in some seconds")?);
        let flow = came / elapsed / f64::from(1 << 20);
        // All of it may have come: nginx sends a file over TLS to its end before it looks around.
        ensure!(flow < 2.0, "{who}: {flow} MiB/s of the cold file came, which was not cold");
        report.sample(case, who, FLOW, flow);
        Ok(())
    }
}

/// Reads until the other half of the socket is shut down, which may reset the connection; returns
/// the bytes that came.
fn count(mut stream: TcpStream) -> u64 {
    let (mut buffer, mut sum) = (vec![0; 1 << 16], 0);
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        sum += n as u64;
    }
    sum
}

/// Asks by the schedule and returns the milliseconds that each response was late.
fn hot(seconds: Duration, mut ask_and_wait: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let start = Instant::now();
    let mut latencies = Vec::new();
    let mut due = start;
    while due - start < seconds {
        if start.elapsed() >= seconds {
            latencies.push((start + seconds - due).as_secs_f64() * 1e3);
            due += PERIOD;
            continue;
        }
        while let Some(early) = due.checked_duration_since(Instant::now()).filter(|d| !d.is_zero())
        {
            park_timeout(early);
        }
        ask_and_wait()?;
        latencies.push(due.elapsed().as_secs_f64() * 1e3);
        due += PERIOD;
    }
    Ok(latencies)
}
