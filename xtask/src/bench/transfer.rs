//! `bench transfer`: every method of the engine, from a file to every kind of sink.
//!
//! A cell is a method, a sink, a size and a cache state. In each round every cell is measured
//! once, all methods of one sink, size and state after each other, so that ratios to `copy`
//! compare neighbours in time. CPU is what the sending thread used, user and system
//! (`CLOCK_THREAD_CPUTIME_ID`, which getrusage(2) `RUSAGE_THREAD` rounds to microseconds); what
//! the kernel does later elsewhere, such as writing a file back, is not in it. The row `C loop`
//! is a bare sendfile(2) loop in a process of its own; `tokio` drives sendfile through a
//! current-thread runtime. The engine runs with its default stability policy.
//!
//! Source: clock_gettime(2); posix_fadvise(2), `POSIX_FADV_DONTNEED` for the cold state.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::time::{ClockId, clock_gettime};
use underpass::{Error, ErrorKind, Method, Policy, Sink, Source, Transfer};
use underpass_testkit::disk::Disk;

use super::drain::{self, Kind, Reader, Reading};
use super::report::{Better, FLOW, PRICE, Quantity, Report};
use super::{cpu, files, peers};
use crate::process::output;

const CALLS: Quantity = Quantity { name: "calls/MiB", better: Better::Neither, decimals: 1 };

/// Transfers between two looks at the clocks, where the file stays in the cache.
const BATCH: u32 = 16;

/// The range of the checked transfer: neither end on a page, several pipes long.
const CHECKED: Range<u64> = 4_095..304_097;

/// As long as the head of a response.
const HEAD: [u8; 200] = [b'h'; 200];

/// What to measure and for how long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How often each cell is measured.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long one measurement lasts at least, in milliseconds.
    #[arg(long, default_value_t = 40)]
    millis: u64,
    /// The sinks.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tcp,unix,pipe,file")]
    sinks: Vec<Kind>,
    /// Sizes of one transfer, in KiB.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,4,16,32,64,256,1024,4096,16384,65536,262144"
    )]
    sizes: Vec<u64>,
    /// Only `copy` and the columns of these names; every column without it.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Puts 200 bytes of memory before the range, as a response's head is put before its body.
    /// Leaves out the C loop, which has no head.
    #[arg(long)]
    head: bool,
    /// States of the page cache.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "warm,cold")]
    caches: Vec<Cache>,
}

/// Whether the range is in the page cache when a transfer starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cache {
    Warm,
    Cold,
}

impl Cache {
    const fn name(self) -> &'static str {
        match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        }
    }
}

impl Options {
    /// Just enough to see that everything still works.
    pub(crate) fn smoke(mut self) -> Self {
        (self.rounds, self.millis, self.sizes) = (1, 1, vec![1, 1024]);
        self
    }
}

/// Who moves the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mover {
    /// The blocking driver.
    Engine(Policy),
    /// sendfile by the tokio driver.
    Tokio,
    /// A bare loop in C.
    CLoop,
}

impl Mover {
    fn all() -> impl Iterator<Item = Self> {
        let methods = Method::ALL.into_iter().map(|method| Self::Engine(Policy::Only(method)));
        methods.chain([Self::Engine(Policy::Auto), Self::Tokio, Self::CLoop])
    }

    fn name(self) -> &'static str {
        match self {
            Self::Engine(Policy::Only(method) | Policy::Prefer(method)) => method.name(),
            Self::Engine(Policy::Auto) => "auto",
            Self::Tokio => "tokio",
            Self::CLoop => "C loop",
        }
    }

    fn policy(self) -> Policy {
        match self {
            Self::Engine(policy) => policy,
            Self::Tokio | Self::CLoop => Policy::Only(Method::Sendfile),
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    cpu: Duration,
    wall: Duration,
    calls: u64,
    bytes: u64,
}

/// What every measurement needs.
struct Bench {
    scratch: tempfile::TempDir,
    source: File,
    path: PathBuf,
    /// The sink of file transfers, written over and over.
    copy: File,
    runtime: tokio::runtime::Runtime,
    /// Goes before each range; may be empty.
    head: &'static [u8],
}

/// Runs the bench.
pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let sizes: Vec<u64> = options.sizes.iter().map(|kib| kib << 10).collect();
    let largest = sizes.iter().copied().max().context("no size is given")?.max(CHECKED.end);
    let scratch = files::scratch()?;
    let (path, source) = files::patterned(scratch.path(), "source", largest)?;
    let (_, _) = files::patterned(scratch.path(), "copy", largest)?;
    let copy = File::options().read(true).write(true).open(scratch.path().join("copy"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let head: &[u8] = if options.head { &HEAD } else { &[] };
    let bench = Bench { scratch, source, path, copy, runtime, head };
    cpu::pin_here(cpu::SERVING)?;
    report.line(&format!(
        "sender on CPU {}, reader on CPU {}, {} rounds of {} ms, medians; every method's bytes \
         checked once",
        cpu::SERVING % cpu::count()?,
        cpu::ASKING % cpu::count()?,
        options.rounds,
        options.millis
    ));
    for &sink in &options.sinks {
        let mut movers = bench.check(sink)?;
        let only = &options.only;
        movers.retain(|mover| {
            let name = mover.name();
            only.is_empty() || name == Method::Copy.name() || only.iter().any(|o| o == name)
        });
        let budget = Duration::from_millis(options.millis);
        for round in 0..options.rounds as usize {
            for &size in &sizes {
                for &cache in &options.caches {
                    files::warm(&bench.path)?;
                    for i in 0..movers.len() {
                        let Some(&mover) = movers.get((i + round) % movers.len()) else { continue };
                        let spent = bench.measure(mover, sink, size, cache, budget)?;
                        keep(report, &case(sink, cache, size), mover, spent);
                    }
                }
            }
        }
        for &cache in &options.caches {
            let rows: Vec<&str> = movers.iter().map(|mover| mover.name()).collect();
            for quantity in [PRICE, CALLS, FLOW] {
                print(report, sink, cache, &sizes, &rows, quantity);
            }
            if movers.contains(&Mover::CLoop) {
                print_paired(report, sink, cache, &sizes);
            }
        }
    }
    Ok(())
}

/// Prints CPU per byte of the two drivers beside the C loop's.
fn print_paired(report: &mut Report, sink: Kind, cache: Cache, sizes: &[u64]) {
    report.line("");
    let title = format!("{} {}: CPU per byte, round by round", sink.name(), cache.name());
    report.line(&format!("{title:<44}{:>28}{:>28}", "sendfile / C loop", "tokio / C loop"));
    for &size in sizes {
        let mut row = format!("{:>20} KiB{:20}", size >> 10, "");
        for mover in [Method::Sendfile.name(), Mover::Tokio.name()] {
            let pair = [mover, Mover::CLoop.name()];
            let [median, least, greatest] = report.paired(&case(sink, cache, size), PRICE, pair);
            row.push_str(&format!("{:>28}", format!("{median:.3} ({least:.2} to {greatest:.2})")));
        }
        report.line(&row);
    }
}

fn case(sink: Kind, cache: Cache, size: u64) -> String {
    format!("{} {} {} KiB", sink.name(), cache.name(), size >> 10)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes and calls")]
fn keep(report: &mut Report, case: &str, mover: Mover, spent: Spent) {
    let bytes = spent.bytes as f64;
    report.sample(case, mover.name(), PRICE, spent.cpu.as_secs_f64() / bytes * 1e9);
    report.sample(case, mover.name(), CALLS, spent.calls as f64 / bytes * f64::from(1 << 20));
    report.sample(case, mover.name(), FLOW, bytes / spent.wall.as_secs_f64() / 1e9);
}

/// Prints one quantity of one sink and state: a row for each size, a column for each method,
/// each with its ratio to `copy`.
fn print(
    report: &mut Report,
    sink: Kind,
    cache: Cache,
    sizes: &[u64],
    columns: &[&str],
    quantity: Quantity,
) {
    let mut header =
        format!("{:<28}", format!("{} {}: {}", sink.name(), cache.name(), quantity.name));
    for column in columns {
        header.push_str(&format!(" {column:>16}"));
    }
    report.line("");
    report.line(&header);
    for &size in sizes {
        let case = case(sink, cache, size);
        let mut row = format!("{:>20} KiB    ", size >> 10);
        let copy = report.median(&case, Method::Copy.name(), quantity);
        for column in columns {
            let median = report.median(&case, column, quantity);
            let decimals = quantity.decimals;
            let cell = if quantity.better == Better::Neither {
                format!("{median:.decimals$}")
            } else {
                format!("{median:.decimals$} {:>5.2}", median / copy)
            };
            row.push_str(&format!(" {cell:>16}"));
        }
        report.line(&row);
    }
}

impl Bench {
    /// Moves one range by each mover, compares it with the file and returns those that can do
    /// it at all.
    fn check(&self, sink: Kind) -> Result<Vec<Mover>> {
        let mut possible = Vec::new();
        for mover in Mover::all() {
            let is_possible = match (mover, sink) {
                // It checks itself by its counts, and has no bytes of its own to get wrong.
                (Mover::CLoop, Kind::Tcp) => self.head.is_empty(),
                (Mover::Tokio, Kind::Tcp | Kind::Unix) => true,
                (Mover::CLoop | Mover::Tokio, _) => false,
                (Mover::Engine(_), _) => true,
            };
            let name = || format!("{} to {}", mover.name(), sink.name());
            if is_possible && self.arrives(mover, sink).with_context(name)? {
                possible.push(mover);
            }
        }
        Ok(possible)
    }

    /// Whether the mover can do it; an error if what arrives is not what was sent.
    fn arrives(&self, mover: Mover, sink: Kind) -> Result<bool> {
        if mover == Mover::CLoop {
            return Ok(true);
        }
        self.copy.set_len(0)?;
        let (end, reader) = self.open(mover, sink, Reading::Keep)?;
        let moved = self.once(mover, &end, CHECKED);
        drop(end);
        let kept = match reader {
            Some(reader) => reader.finish()?,
            None => std::fs::read(self.scratch.path().join("copy"))?,
        };
        match moved {
            Ok(_) => compare(&kept, self.head).map(|()| true),
            // The head goes by plain calls, whatever is demanded for the range.
            Err(Error { kind: ErrorKind::Unsupported { .. }, moved, .. })
                if moved <= self.head.len() as u64 =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a sink, and starts its reader if it is a stream.
    fn open(&self, mover: Mover, sink: Kind, reading: Reading) -> Result<(End, Option<Reader>)> {
        // tokio's sockets are made inside their runtime.
        let _inside = self.runtime.enter();
        let is_evented = mover == Mover::Tokio;
        let (end, reader) = match sink {
            Kind::File => return Ok((End::File, None)),
            Kind::Tcp => {
                let (stream, reader) = drain::tcp(reading)?;
                stream.set_nonblocking(is_evented)?;
                let end = if is_evented {
                    End::TokioTcp(tokio::net::TcpStream::from_std(stream)?)
                } else {
                    End::Blocking(stream.into())
                };
                (end, reader)
            }
            Kind::Unix => {
                let (stream, reader) = drain::unix(reading)?;
                stream.set_nonblocking(is_evented)?;
                let end = if is_evented {
                    End::TokioUnix(tokio::net::UnixStream::from_std(stream)?)
                } else {
                    End::Blocking(stream.into())
                };
                (end, reader)
            }
            Kind::Pipe => {
                let (stream, reader) = drain::pipe(reading)?;
                (End::Blocking(stream), reader)
            }
        };
        Ok((end, Some(reader)))
    }

    /// Makes one transfer and returns its number of system calls.
    fn once(&self, mover: Mover, end: &End, range: Range<u64>) -> Result<u64, Error> {
        let source = Source::file(&self.source, range).expect("the range lies within the file");
        let sink = match end {
            End::Blocking(stream) => Sink::stream(stream),
            End::TokioTcp(stream) => Sink::stream(stream),
            End::TokioUnix(stream) => Sink::stream(stream),
            End::File => Sink::file(&self.copy, 0),
        };
        let transfer = if self.head.is_empty() {
            Transfer::new(source, sink)
        } else {
            Transfer::new(Source::bytes(self.head), sink).chain(source)
        };
        let mut transfer = transfer.policy(mover.policy());
        match end {
            End::Blocking(_) | End::File => transfer.run(),
            End::TokioTcp(stream) => self.runtime.block_on(transfer.drive(None, Some(stream))),
            End::TokioUnix(stream) => self.runtime.block_on(transfer.drive(None, Some(stream))),
        }?;
        Ok(transfer.ledger().calls())
    }

    fn measure(
        &self,
        mover: Mover,
        sink: Kind,
        size: u64,
        cache: Cache,
        budget: Duration,
    ) -> Result<Spent> {
        if mover == Mover::CLoop {
            return self.measure_c(size, cache, budget);
        }
        let (end, reader) = self.open(mover, sink, Reading::Discard)?;
        let (mut spent, start) = (Spent::default(), Instant::now());
        let batch = if cache == Cache::Warm { BATCH } else { 1 };
        while start.elapsed() < budget {
            if cache == Cache::Cold {
                Disk::evict(&self.source)?;
            }
            let (used, began) = (cpu_of_this_thread(), Instant::now());
            for _ in 0..batch {
                spent.calls += self.once(mover, &end, 0..size)?;
                spent.bytes += size;
            }
            spent.cpu += cpu_of_this_thread() - used;
            spent.wall += began.elapsed();
        }
        drop(end);
        reader.map_or(Ok(Vec::new()), Reader::finish)?;
        Ok(spent)
    }

    fn measure_c(&self, size: u64, cache: Cache, budget: Duration) -> Result<Spent> {
        let program = peers::compile("sendfile-loop/sendfile.c", self.scratch.path())?;
        let (port, reader) = drain::port()?;
        let evicts = u8::from(cache == Cache::Cold);
        let mut command = Command::new(program);
        command.arg(&self.path).args([size.to_string(), port.to_string()]);
        command.args([budget.as_millis().to_string(), evicts.to_string()]);
        let line = output(&mut command)?;
        reader.finish()?;
        let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        let [cpu, wall, calls, bytes] = *numbers.as_slice() else {
            bail!("the C loop printed {line:?} instead of four numbers")
        };
        Ok(Spent { cpu: Duration::from_nanos(cpu), wall: Duration::from_nanos(wall), calls, bytes })
    }
}

/// An open sink.
enum End {
    Blocking(OwnedFd),
    TokioTcp(tokio::net::TcpStream),
    TokioUnix(tokio::net::UnixStream),
    File,
}

fn cpu_of_this_thread() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (secs, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(secs.unwrap_or_default(), nanos.unwrap_or_default())
}

/// Compares what arrived with `head` and the pattern of [`CHECKED`].
fn compare(got: &[u8], head: &[u8]) -> Result<()> {
    let body = got.strip_prefix(head).context("the head did not arrive, or not first")?;
    let want = CHECKED.map(|at| u8::try_from(at % 251).unwrap_or_default());
    ensure!(body.iter().copied().eq(want), "{} bytes arrived, not those of the file", got.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_not_the_ranges_own_are_refused() {
        let good: Vec<u8> = CHECKED.map(|at| (at % 251) as u8).collect();
        compare(&good, b"").unwrap();
        compare(&good, b"x").unwrap_err();
        compare(&good[1..], b"").unwrap_err();
        compare(&good, &good[..1]).unwrap_err();
        let mut bad = good;
        bad[100] ^= 1;
        compare(&bad, b"").unwrap_err();
    }
}
