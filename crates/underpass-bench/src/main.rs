//! `cargo xtask bench`: the project's measurements, each against its competitors in one run.
//!
//! A bench runs in a network namespace made for it: loopback there has `cubic` (the default
//! `bbr` paces loopback and makes sendfile look slow) and no other traffic, and nothing has to be
//! restored afterwards. It also builds and runs an optimised build of itself: figures of a debug
//! build are never shown. `--smoke` does neither, because it measures nothing; it shows that
//! every bench still runs.
//!
//! Competitors take turns within each round, in an order that rotates. Figures of different runs
//! must not be compared; the ratios within one may.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "what a bench finds is what it prints")]

mod all;
mod cache;
mod cold;
mod copy;
mod cpu;
mod drain;
mod files;
mod framed;
mod http2;
mod idle;
mod isolation;
mod latency;
mod load;
mod log;
mod peers;
mod relay;
mod relay_idle;
mod report;
mod run;
mod secured;
mod serve;
mod slow;
mod stats;
mod transfer;
mod tsdb;
mod watching;
mod way;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use underpass_testkit::workspace;

use report::Report;
use run::{Run, turns};

/// The benches, as the command line has them.
const NAMES: [&str; 22] = [
    "serve",
    "http2",
    "latency",
    "idle",
    "idle --tls",
    "idle --http2",
    "slow",
    "slow --http2",
    "cold",
    "cold --tls",
    "cold --http2",
    "transfer",
    "watching",
    "watching --intervals 3",
    "relay",
    "copy",
    "tsdb",
    "log",
    "log --part cold",
    "cache",
    "cache --part hits",
    "cache --part herd",
];

/// Those that limit a disk or look into the kernel.
const NAMES_OF_ROOT: [&str; 6] =
    ["cold", "cold --tls", "cold --http2", "watching", "watching --intervals 3", "log --part cold"];

/// Measures this workspace against its competitors.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench", version)]
struct Options {
    #[command(subcommand)]
    bench: Bench,
    /// How many times each competitor takes its turn.
    #[arg(long, global = true, default_value_t = 7)]
    rounds: u32,
    /// An `underpass` of an earlier commit: it takes part in every round, and the ratio of this
    /// workspace's to it is printed.
    #[arg(long, global = true, value_name = "PATH")]
    old: Option<PathBuf>,
    /// Only these competitors, named as in the tables; ratios are to the first row left.
    #[arg(long, global = true, value_delimiter = ',', value_name = "NAME")]
    only: Vec<String>,
    /// Only shows that the bench runs: tiny sizes, one round, a debug build.
    #[arg(long, global = true)]
    smoke: bool,
    /// Leaves the run in `bench/runs/<NAME>/`; NAME starts with the date.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "smoke")]
    record: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Static file servers: a 1 GiB download, and small files over keep-alive connections.
    Serve(serve::Options),
    /// How long clients wait for small files at half the rate that saturates nginx.
    Latency(latency::Options),
    /// Files of 1 MiB over HTTP/2, several at a time over each connection.
    Http2(http2::Options),
    /// Memory that idle connections cost a server.
    Idle(idle::Options),
    /// Memory that slow clients cost a server, and how long a quick one waits meanwhile.
    Slow(slow::Options),
    /// Latency of cached files while another client reads one from a slow disk.
    Cold(cold::Options),
    /// Every method of the engine, from a file to every kind of sink.
    Transfer(transfer::Options),
    /// A server with `underpass explain` attached to it, and without.
    Watching(watching::Options),
    /// TCP relays: bulk, small round trips, new connections.
    Relay(relay::Options),
    /// Files to sockets and to files, compared with a C loop, socat, nc and cp.
    Copy(copy::Options),
    /// Blocks of Prometheus, compared with promtool.
    Tsdb(tsdb::Options),
    /// A log that speaks Kafka, compared with Apache Kafka.
    Log(log::Options),
    /// Caches in front of an origin, compared with nginx and Varnish: what the origin is asked for.
    Cache(cache::Options),
    /// Every bench that the README quotes, one after the other; those that `--record DATE` has
    /// already recorded are left out, so an interrupted run is continued.
    All,
    /// Discards standard input, for a bench that measures what sends it.
    #[command(hide = true)]
    Discard,
    /// Names every bench, those that need root with `root ` before it.
    #[command(hide = true)]
    Names,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> Result<()> {
    if matches!(options.bench, Bench::Discard) {
        return drain::discard_standard_input();
    }
    if matches!(options.bench, Bench::Names) {
        print_names();
        return Ok(());
    }
    measure(options)
}

fn print_names() {
    for name in NAMES {
        println!("{}{name}", if NAMES_OF_ROOT.contains(&name) { "root " } else { "" });
    }
}

/// Runs one bench, first moving to an optimised build in a network namespace made for it.
fn measure(options: Options) -> Result<()> {
    let Options { bench, rounds, old, only, smoke: is_smoke, record } = options;
    if !isolation::is_isolated() {
        prepare(&bench)?;
        if !is_smoke {
            return isolation::isolate();
        }
    }
    if is_smoke {
        println!("figures of a smoke run mean nothing and are not shown");
        let mut build = workspace::cargo();
        let status = build.args(["build", "--quiet", "--package=underpass-cli"]).status()?;
        ensure!(status.success(), "the command underpass does not build");
    } else {
        isolation::settle()?;
    }
    if matches!(bench, Bench::All) {
        return all::run(old.as_deref(), is_smoke, record.as_deref());
    }
    // A smoke run has no earlier build; the same one shows that an earlier one would take part.
    let same = is_smoke.then(|| std::env::current_exe().map(|me| me.with_file_name(peers::NEW)));
    let old = old.or(same.transpose()?);
    let rounds = if is_smoke { 1 } else { rounds };
    let mut run = Run { rounds, old, only, report: Report::new(is_smoke) };
    // Others who work on the same CPUs spoil every figure; ratios suffer least.
    run.report.line(&format!(
        "load average before: {}; {rounds} rounds: median (worst), ratio to the first row: median \
         (least to greatest of the rounds); servers and senders on CPU {}, clients and readers on \
         CPU {}",
        report::load_average()?,
        cpu::SERVING % cpu::count()?,
        cpu::ASKING % cpu::count()?
    ));
    take_turns(bench, is_smoke, &mut run)?;
    if let Some(name) = record {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        run.report.record(&name, &format!("cargo xtask bench {}", arguments.join(" ")))?;
    }
    Ok(())
}

/// Installs what competes, where the network still is.
fn prepare(bench: &Bench) -> Result<()> {
    if matches!(bench, Bench::Tsdb(_) | Bench::All) {
        tsdb::prepare()?;
    }
    if matches!(bench, Bench::Log(_) | Bench::All) {
        log::prepare()?;
    }
    if let Bench::Serve(options) = bench {
        options.prepare()?;
    }
    Ok(())
}

fn take_turns(bench: Bench, is_smoke: bool, run: &mut Run) -> Result<()> {
    match bench {
        Bench::Serve(options) => serve::run(&options.fitting(is_smoke), run),
        Bench::Latency(options) => latency::run(&options.fitting(is_smoke), run),
        Bench::Http2(options) => http2::run(&options.fitting(is_smoke), run),
        Bench::Idle(options) => idle::run(&options.fitting(is_smoke), run),
        Bench::Slow(options) => slow::run(&options.fitting(is_smoke), run),
        Bench::Cold(options) => cold::run(&options.fitting(is_smoke), run),
        Bench::Transfer(options) => transfer::run(&options.fitting(is_smoke), run),
        Bench::Watching(options) => watching::run(&options.fitting(is_smoke), run),
        Bench::Relay(options) => relay::run(&options.fitting(is_smoke), run),
        Bench::Copy(options) => copy::run(&options.fitting(is_smoke), run),
        Bench::Tsdb(options) => tsdb::run(&options.fitting(is_smoke), run),
        Bench::Log(options) => log::run(&options.fitting(is_smoke), run),
        Bench::Cache(options) => cache::run(&options.fitting(is_smoke), run),
        Bench::All | Bench::Discard | Bench::Names => Ok(()),
    }
}
