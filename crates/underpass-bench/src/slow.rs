//! `bench slow`: thousands of clients that read a byte a second of a file, and one that is quick.
//!
//! Counted is what the slow ones cost in anonymous memory, and how long the quick one waits for a
//! small file meanwhile. What the kernel holds for their sockets is the same for all servers: a
//! client's window is as small as it can be. Over HTTP/2 each reads another part of the file, so
//! that what was read for one is of no use to the others; the windows of HTTP/2 are wide.
//!
//! Source: `Documentation/filesystems/proc.rst` (smaps_rollup, Anonymous); socket(7), `SO_RCVBUF`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};

use super::framed::Framed;
use super::idle::{allow_descriptors, anonymous_kib};
use super::load::{Asking, Room};
use super::peers::Peer;
use super::report::{Better, Quantity};
use super::stats::quantile;
use super::way::{Choice, Way};
use super::{Run, cpu, files, load, turns};

const MEMORY: Quantity = Quantity { name: "MiB", better: Better::Less, decimals: 1 };
const KEPT: Quantity = Quantity { name: "KiB/client", better: Better::Less, decimals: 2 };
const ALONE: Quantity = Quantity { name: "p99 us alone", better: Better::Less, decimals: 0 };
const MEANWHILE: Quantity =
    Quantity { name: "p99 us meanwhile", better: Better::Less, decimals: 0 };
const ALIVE: Quantity = Quantity { name: "still sent to", better: Better::Neither, decimals: 0 };

const CASE: &str = "slow";

/// More than the queues of a connection hold.
const LARGE_BYTES: u64 = 16 << 20;

/// The file of which clients of HTTP/2 read a part each.
const FILE_BYTES: u64 = 256 << 20;

const SMALL_BYTES: u64 = 4096;

/// The smallest window that a client can have (the kernel doubles it).
const WINDOW_BYTES: usize = 2048;

/// How many, and for how long.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Slow clients.
    #[arg(long, default_value_t = 10_000)]
    clients: u32,
    /// How long they read, a byte in each second.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    #[command(flatten)]
    way: Choice,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { clients: 50, seconds: 1, ..self } } else { self }
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let clients = options.clients;
    allow_descriptors(u64::from(clients) + 1000)?;
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let way = Way::new(options.way, dir.path())?;
    ensure!(way.is_http2 || way.tls.is_none(), "over TLS: with --http2");
    files::patterned(&root, "large", if way.is_http2 { FILE_BYTES } else { LARGE_BYTES })?;
    let (small, _) = files::patterned(&root, "small", SMALL_BYTES)?;
    cpu::pin_here(cpu::ASKING)?;
    let peers = run.field([Peer::Nginx], Peer::Underpass, Peer::name)?;
    for round in 0..run.rounds {
        for peer in turns(&peers, round) {
            let server = peer.start_over(&way, &root, dir.path())?;
            let (who, address) = (peer.name(), server.address());
            if !way.is_http2 {
                load::verify(address, "/small", &small)?;
            }
            let mut quick = Quick::new(address, &way)?;
            let alone = p99(&mut quick, Duration::from_secs(1))?;
            let before = anonymous_kib(server.id())?;
            let slow = (0..clients).map(|nth| Slow::connect(address, &way, nth));
            let mut slow = slow.collect::<Result<Vec<_>>>().with_context(|| who.to_owned())?;
            let mut meanwhile = Vec::new();
            let (mut alive, mut memory) = (0, 0);
            for _ in 0..options.seconds {
                let start = Instant::now();
                alive = slow.iter_mut().filter_map(|one| one.read_a_byte().ok()).count();
                meanwhile
                    .push(p99(&mut quick, Duration::from_secs(1).saturating_sub(start.elapsed()))?);
                memory = memory.max(anonymous_kib(server.id())?.saturating_sub(before));
            }
            let kib = f64::from(u32::try_from(memory)?);
            run.report.sample(CASE, who, MEMORY, kib / 1024.0);
            run.report.sample(CASE, who, KEPT, kib / f64::from(clients));
            run.report.sample(CASE, who, ALONE, alone);
            run.report.sample(CASE, who, MEANWHILE, meanwhile.into_iter().fold(0.0, f64::max));
            run.report.sample(CASE, who, ALIVE, f64::from(u32::try_from(alive)?));
            drop(slow);
            server.stop()?;
        }
    }
    let title = format!("{clients} clients that read a byte a second{}", way.told());
    run.report.table(CASE, &title, &[MEMORY, KEPT, ALONE, MEANWHILE, ALIVE]);
    Ok(())
}

/// The 99th percentile of how long one client waits, one request after the other, in µs.
fn p99(quick: &mut Quick, duration: Duration) -> Result<f64> {
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < 100 || begin.elapsed() < duration {
        let start = Instant::now();
        quick.ask_and_wait()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(quantile(&times, 0.99))
}

/// The client that is not slow.
enum Quick {
    Http1(Asking, Room),
    Http2(Framed),
}

impl Quick {
    fn new(address: SocketAddr, way: &Way) -> Result<Self> {
        Ok(if way.is_http2 {
            Self::Http2(way.framed(TcpStream::connect(address)?)?)
        } else {
            Self::Http1(Asking::new(address, "/small", SMALL_BYTES)?, Room::new())
        })
    }

    fn ask_and_wait(&mut self) -> Result<()> {
        match self {
            Self::Http1(asking, room) => asking.ask_and_wait(room),
            Self::Http2(asking) => asking.ask_and_wait("/small", SMALL_BYTES),
        }
    }
}

/// A client with the smallest window, which has asked for a large file.
enum Slow {
    Http1(TcpStream),
    Http2(Framed),
}

impl Slow {
    fn connect(address: SocketAddr, way: &Way, nth: u32) -> Result<Self> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        sockopt::set_socket_recv_buffer_size(&socket, WINDOW_BYTES)?;
        connect(&socket, &address)?;
        let mut stream = TcpStream::from(socket);
        if way.is_http2 {
            let mut framed = way.framed(stream)?;
            // An odd number of pages further than the last.
            let from = u64::from(nth) * 4096 * 37 % (FILE_BYTES - LARGE_BYTES);
            let range = format!("bytes={from}-{}", from + LARGE_BYTES - 1);
            let asked = framed.ask("/large", Some(&range))?;
            framed.wait_for_answer(asked, &mut [0; 16 << 10])?;
            return Ok(Self::Http2(framed));
        }
        stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")?;
        let mut line = [0; 15];
        stream.read_exact(&mut line).context("no answer")?;
        ensure!(line == *b"HTTP/1.1 200 OK", "{}", String::from_utf8_lossy(&line));
        Ok(Self::Http1(stream))
    }

    /// There is one: the window is always full.
    fn read_a_byte(&mut self) -> Result<()> {
        match self {
            Self::Http1(stream) => stream.read_exact(&mut [0])?,
            Self::Http2(framed) => framed.read_a_byte()?,
        }
        Ok(())
    }
}
