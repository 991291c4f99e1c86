//! `bench transfer`: every method of the engine, from a file to every kind of sink.
//!
//! A case is a sink, a cache state and a size. In each round every case is measured once, by all
//! methods one after the other. CPU is what the sending thread used, user and system; what the
//! kernel does later elsewhere, such as writing a file back, is not in it. The yardstick for TCP is
//! the corked loop of sendfile(2), made by this process as the engine's calls are; the same loop in
//! C is a separate process, which moves the figure by some per cent either way. For the other
//! sinks the yardstick is `copy`. `tokio` drives sendfile through a current-thread runtime. The
//! engine runs with its default stability policy.
//!
//! The engine is linked into the bench, so an earlier one cannot take part in the same run. Two
//! commits are compared by their ratios to the corked loop.
//!
//! Source: clock_gettime(2), `CLOCK_THREAD_CPUTIME_ID`; posix_fadvise(2), `POSIX_FADV_DONTNEED`
//! for the cold state.

use std::fs::File;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rustix::net::SendFlags;
use rustix::net::sockopt::set_tcp_cork;
use underpass::{Error, ErrorKind, Method, Policy, Sink, Source, Transfer};
use underpass_testkit::disk::Disk;

use super::cpu::Spent;
use super::drain::{self, Kind, Reader, Reading};
use super::report::{Better, FLOW, PRICE, Quantity};
use super::{Run, cpu, files, peers, turns};
use underpass_testkit::process::output;

const CALLS: Quantity = Quantity { name: "calls/MiB", better: Better::Neither, decimals: 1 };

/// Transfers between two readings of the clocks, unless they are cold or large.
const BATCH: u32 = 16;

/// From here on one transfer takes long enough for the clocks.
const LARGE: u64 = 4 << 20;

/// The range of the checked transfer: neither end on a page, several pipes long.
const CHECKED: Range<u64> = 4_095..304_097;

/// As long as the head of a response.
const HEAD: [u8; 200] = [b'h'; 200];

/// What to measure and for how long.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// How long one measurement lasts at least, in milliseconds.
    #[arg(long, default_value_t = 40)]
    millis: u64,
    /// The sinks.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "tcp,unix,pipe,file")]
    sinks: Vec<Kind>,
    /// Sizes of one transfer, in KiB.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64,100,256,1024,4096,16384,262144")]
    sizes: Vec<u64>,
    /// Puts 200 bytes of memory before the range, as a response's head is put before its body.
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

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { millis: 1, sizes: vec![1, 1024], ..self } } else { self }
    }
}

/// What moves the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mover {
    /// TCP_CORK and sendfile(2) and nothing else, from this process.
    Loop,
    /// A loop in C, corked or not.
    CLoop { corks: bool },
    /// The blocking driver.
    Engine(Policy),
    /// sendfile by the tokio driver.
    Tokio,
}

impl Mover {
    /// The first that can write to a sink is what the others are compared with.
    fn all() -> Vec<Self> {
        let methods = Method::ALL.iter().copied().map(|method| Self::Engine(Policy::Only(method)));
        let loops = [Self::Loop, Self::CLoop { corks: true }, Self::CLoop { corks: false }];
        let drivers = [Self::Engine(Policy::Auto), Self::Tokio];
        loops.into_iter().chain(methods).chain(drivers).collect()
    }

    const fn name(&self) -> &'static str {
        match self {
            Self::Loop => "corked loop",
            Self::CLoop { corks: true } => "C loop corked",
            Self::CLoop { corks: false } => "C loop bare",
            Self::Engine(Policy::Only(method) | Policy::Prefer(method)) => method.name(),
            Self::Engine(Policy::Auto) => "auto",
            Self::Tokio => "tokio",
        }
    }

    fn policy(self) -> Policy {
        match self {
            Self::Engine(policy) => policy,
            Self::Tokio | Self::Loop | Self::CLoop { .. } => Policy::Only(Method::Sendfile),
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    spent: Spent,
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
    millis: u64,
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let bench = Bench::new(options)?;
    cpu::pin_here(cpu::SERVING)?;
    for &sink in &options.sinks {
        let mut movers = Mover::all();
        movers.retain(|mover| run.is_named(mover.name()));
        let movers = bench.check(movers, sink)?;
        let sizes = options.sizes.iter().map(|kib| kib << 10);
        let cases: Vec<(u64, Cache)> =
            sizes.flat_map(|size| options.caches.iter().map(move |&cache| (size, cache))).collect();
        let name_of = |(size, cache): (u64, Cache)| {
            format!("{} {} {} KiB", word(sink), word(cache), size >> 10)
        };
        for round in 0..run.rounds {
            for &(size, cache) in &cases {
                files::warm(&bench.path)?;
                for &mover in turns(&movers, round) {
                    let name = name_of((size, cache));
                    match bench.measure(mover, sink, size, cache) {
                        Ok(moved) => keep(run, &name, mover, moved),
                        Err(error) if is_refused(&error) => {
                            run.report.line(&format!("{name}: no turn for {error}"));
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
        for case in cases {
            let name = name_of(case);
            run.report.table(&name, &name, &[PRICE, FLOW, CALLS]);
        }
    }
    Ok(())
}

/// Whether a method that was possible before was refused, as by a limit on locked memory.
fn is_refused(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<Error>();
    error.is_some_and(|error| matches!(error.kind, ErrorKind::Unsupported { .. }))
}

/// A value as the command line spells it.
fn word(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes and calls")]
fn keep(run: &mut Run, case: &str, mover: Mover, Moved { spent, calls, bytes }: Moved) {
    run.report.moved(case, mover.name(), bytes, spent);
    let calls = calls as f64 / bytes as f64 * f64::from(1 << 20);
    run.report.sample(case, mover.name(), CALLS, calls);
}

impl Bench {
    fn new(options: &Options) -> Result<Self> {
        let largest =
            options.sizes.iter().map(|kib| kib << 10).max().context("no size is given")?;
        let (scratch, largest) = (files::scratch()?, largest.max(CHECKED.end));
        let (path, source) = files::patterned(scratch.path(), "source", largest)?;
        let (copy, _) = files::patterned(scratch.path(), "copy", largest)?;
        let copy = File::options().read(true).write(true).open(copy)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let head: &[u8] = if options.head { &HEAD } else { &[] };
        Ok(Self { scratch, source, path, copy, runtime, head, millis: options.millis })
    }

    /// Moves one range by each mover, compares it with the file and returns those that can do
    /// it at all.
    fn check(&self, movers: Vec<Mover>, sink: Kind) -> Result<Vec<Mover>> {
        let mut possible = Vec::new();
        for mover in movers {
            let is_possible = match mover {
                // They are checked by their counts.
                Mover::Loop | Mover::CLoop { .. } => sink == Kind::Tcp,
                Mover::Tokio if !matches!(sink, Kind::Tcp | Kind::Unix) => false,
                Mover::Tokio | Mover::Engine(_) => {
                    let name = || format!("{} to {}", mover.name(), word(sink));
                    self.arrives(mover, sink).with_context(name)?
                }
            };
            if is_possible {
                possible.push(mover);
            }
        }
        Ok(possible)
    }

    /// Whether the mover can do it; an error if what arrives is not what was sent.
    fn arrives(&self, mover: Mover, sink: Kind) -> Result<bool> {
        self.copy.set_len(0)?;
        let (end, reader) = self.open(mover, sink, Reading::Keep)?;
        let moved = self.once(mover, &end, CHECKED);
        drop(end);
        let kept = match reader {
            Some(reader) => reader.finish()?.1,
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
        let Some((stream, reader)) = drain::open(sink, reading)? else {
            return Ok((End::File, None));
        };
        // tokio's sockets are made inside their runtime.
        let _inside = self.runtime.enter();
        if mover == Mover::Tokio {
            rustix::io::ioctl_fionbio(&stream, true)?;
        }
        let end = match (mover, sink) {
            (Mover::Tokio, Kind::Tcp) => {
                End::TokioTcp(tokio::net::TcpStream::from_std(stream.into())?)
            }
            (Mover::Tokio, _) => End::TokioUnix(tokio::net::UnixStream::from_std(stream.into())?),
            _ => End::Blocking(stream),
        };
        Ok((end, Some(reader)))
    }

    /// Makes one transfer and returns its number of system calls.
    fn once(&self, mover: Mover, end: &End, range: Range<u64>) -> Result<u64, Error> {
        let source = Source::file(&self.source, range).expect("the range lies within the file");
        let sink = match end {
            End::Blocking(stream) => Sink::stream(stream),
            End::TokioTcp(stream) => Sink::tokio(stream),
            End::TokioUnix(stream) => Sink::tokio(stream),
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
            End::TokioTcp(_) | End::TokioUnix(_) => self.runtime.block_on(transfer.drive()),
        }?;
        Ok(transfer.ledger().calls())
    }

    /// What `sendfile.c` does when it corks.
    fn corked_loop(&self, to: &OwnedFd, size: u64) -> Result<u64> {
        let (mut calls, mut at) = (2, 0);
        set_tcp_cork(to, true)?;
        if !self.head.is_empty() {
            calls += 1;
            rustix::net::send(to, self.head, SendFlags::empty())?;
        }
        while at < size {
            calls += 1;
            let left = usize::try_from(size - at)?;
            ensure!(rustix::fs::sendfile(to, &self.source, Some(&mut at), left)? > 0, "no end");
        }
        set_tcp_cork(to, false)?;
        Ok(calls)
    }

    fn measure(&self, mover: Mover, sink: Kind, size: u64, cache: Cache) -> Result<Moved> {
        if let Mover::CLoop { corks } = mover {
            return self.measure_c(corks, size, cache);
        }
        let (end, reader) = self.open(mover, sink, Reading::Discard)?;
        let (mut moved, start) = (Moved::default(), Instant::now());
        let batch = if cache == Cache::Cold || size >= LARGE { 1 } else { BATCH };
        while start.elapsed() < Duration::from_millis(self.millis) {
            if cache == Cache::Cold {
                Disk::evict(&self.source)?;
            }
            let (used, began) = (cpu::used_here()?, Instant::now());
            for _ in 0..batch {
                moved.calls += match (mover, &end) {
                    (Mover::Loop, End::Blocking(to)) => self.corked_loop(to, size)?,
                    _ => self.once(mover, &end, 0..size)?,
                };
                moved.bytes += size;
            }
            moved.spent.cpu += cpu::used_here()? - used;
            moved.spent.wall += began.elapsed();
        }
        drop(end);
        let sent = moved.bytes + moved.bytes / size * self.head.len() as u64;
        if let Some(reader) = reader {
            let (came, _) = reader.finish()?;
            ensure!(came == sent, "{}: {came} of {sent} bytes came", mover.name());
        }
        Ok(moved)
    }

    fn measure_c(&self, corks: bool, size: u64, cache: Cache) -> Result<Moved> {
        let program = peers::compile("sendfile-loop/sendfile.c", self.scratch.path())?;
        let (address, reader) = drain::port(Reading::Discard)?;
        let numbers = [
            size,
            address.port().into(),
            self.millis,
            (cache == Cache::Cold).into(),
            corks.into(),
            self.head.len() as u64,
        ];
        let mut command = Command::new(program);
        let line = output(command.arg(&self.path).args(numbers.map(|number| number.to_string())))?;
        reader.finish()?;
        let numbers: Vec<u64> = line.split(' ').map_while(|word| word.parse().ok()).collect();
        let [cpu, wall, calls, bytes] = *numbers.as_slice() else {
            bail!("the C loop printed {line:?} instead of four numbers")
        };
        let spent = Spent { cpu: Duration::from_nanos(cpu), wall: Duration::from_nanos(wall) };
        Ok(Moved { spent, calls, bytes })
    }
}

/// An open sink.
enum End {
    Blocking(OwnedFd),
    TokioTcp(tokio::net::TcpStream),
    TokioUnix(tokio::net::UnixStream),
    File,
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
