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

mod all;
mod cold;
mod copy;
mod cpu;
mod drain;
mod files;
mod framed;
mod http2;
mod idle;
mod latency;
mod load;
mod log;
mod peers;
mod relay;
mod relay_idle;
mod report;
mod secured;
mod serve;
mod slow;
mod stats;
mod transfer;
mod tsdb;
mod watching;
mod way;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::workspace;
use peers::Build;
use report::Report;

pub(crate) use drain::discard_standard_input;

/// Set in the environment of the optimised, isolated half.
const ISOLATED: &str = "UNDERPASS_BENCH_ISOLATED";

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// What a namespace other than the first may choose from: ip-sysctl,
/// `tcp_allowed_congestion_control`.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// Thousands of connections a second leave as many ports in TIME_WAIT; with the usual 28,232
/// ports connect(2) has to search for a free one, which would be charged to the relay.
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The benches, as the command line has them.
pub(crate) const NAMES: [&str; 18] = [
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
    "relay",
    "copy",
    "tsdb",
    "log",
    "log --part cold",
];

/// Those that limit a disk or look into the kernel.
pub(crate) const NAMES_OF_ROOT: [&str; 5] =
    ["cold", "cold --tls", "cold --http2", "watching", "log --part cold"];

/// Measures this workspace against its competitors.
#[derive(Debug, Args)]
pub(crate) struct Options {
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
    /// Every bench that the README quotes, one after the other; those that `--record DATE` has
    /// already recorded are left out, so an interrupted run is continued.
    All,
}

/// What every bench is given.
#[derive(Debug)]
struct Run {
    rounds: u32,
    old: Option<PathBuf>,
    only: Vec<String>,
    report: Report,
}

impl Run {
    /// These peers and the builds of `underpass`, as far as `--only` names them.
    fn field<T>(
        &self,
        peers: impl IntoIterator<Item = T>,
        underpass: impl Fn(Build) -> T,
        name: impl Fn(&T) -> &'static str,
    ) -> Result<Vec<T>> {
        let builds = Build::all(self.old.as_deref())?;
        let mut all: Vec<T> = peers.into_iter().chain(builds.into_iter().map(underpass)).collect();
        all.retain(|one| self.is_named(name(one)));
        ensure!(!all.is_empty(), "--only leaves no competitor");
        Ok(all)
    }

    fn is_named(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Makes sure that a file is in the page cache; `who` is next.
    fn warm(&mut self, path: &Path, who: &str) -> Result<()> {
        let reads = files::warm(path)?;
        if reads > 0 {
            let line = format!(
                "parts of {} were evicted and read back before {who}'s turn",
                path.file_name().unwrap_or_default().display()
            );
            self.report.line(&line);
        }
        Ok(())
    }
}

/// All of them, beginning with another one in each round and backwards in every other, so that
/// none always follows the same one: what comes right after a C loop's process pays a tenth more.
fn turns<T>(all: &[T], round: u32) -> impl Iterator<Item = &T> {
    let mut turns: Vec<&T> = all.iter().collect();
    turns.rotate_left(round as usize % all.len().max(1));
    if round % 2 == 1 {
        turns.reverse();
    }
    turns.into_iter()
}

/// Runs one bench, first moving to an optimised build in a network namespace made for it.
pub(crate) fn run(options: Options) -> Result<()> {
    let Options { bench, rounds, old, only, smoke: is_smoke, record } = options;
    let is_isolated = std::env::var_os(ISOLATED).is_some();
    if !is_isolated && matches!(bench, Bench::Tsdb(_) | Bench::All) {
        tsdb::prepare()?;
    }
    if !is_isolated && matches!(bench, Bench::Log(_) | Bench::All) {
        log::prepare()?;
    }
    if !is_isolated && let Bench::Serve(options) = &bench {
        options.prepare()?;
    }
    if !is_smoke && !is_isolated {
        return isolate();
    }
    if is_smoke {
        println!("figures of a smoke run mean nothing and are not shown");
        let mut build = workspace::cargo();
        let status = build.args(["build", "--quiet", "--package=underpass-cli"]).status()?;
        ensure!(status.success(), "the command underpass does not build");
    } else {
        fs::write(CONGESTION_CONTROL, "cubic").context(CONGESTION_CONTROL)?;
        fs::write(PORTS, "1024 65535").context(PORTS)?;
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
    match bench {
        Bench::Serve(options) => serve::run(&options.fitting(is_smoke), &mut run),
        Bench::Latency(options) => latency::run(&options.fitting(is_smoke), &mut run),
        Bench::Http2(options) => http2::run(&options.fitting(is_smoke), &mut run),
        Bench::Idle(options) => idle::run(&options.fitting(is_smoke), &mut run),
        Bench::Slow(options) => slow::run(&options.fitting(is_smoke), &mut run),
        Bench::Cold(options) => cold::run(&options.fitting(is_smoke), &mut run),
        Bench::Transfer(options) => transfer::run(&options.fitting(is_smoke), &mut run),
        Bench::Watching(options) => watching::run(&options.fitting(is_smoke), &mut run),
        Bench::Relay(options) => relay::run(&options.fitting(is_smoke), &mut run),
        Bench::Copy(options) => copy::run(&options.fitting(is_smoke), &mut run),
        Bench::Tsdb(options) => tsdb::run(&options.fitting(is_smoke), &mut run),
        Bench::Log(options) => log::run(&options.fitting(is_smoke), &mut run),
        Bench::All => Ok(()),
    }?;
    if let Some(name) = record {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        run.report.record(&name, &format!("cargo xtask {}", arguments.join(" ")))?;
    }
    Ok(())
}

/// Replaces this process by an optimised build of itself in a new network namespace.
///
/// Where `cubic` is reserved for the first namespace, it is first put on the list of what any
/// process may choose, where it stays until the next boot.
///
/// # Errors
///
/// Only ever returns with one: if the build fails, or if unshare(1) is not there.
fn isolate() -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--package=xtask", "--package=underpass-cli"]);
    build.arg("--features=xtask/uring");
    ensure!(build.status()?.success(), "no optimised build to measure");
    let allowed = fs::read_to_string(ALLOWED).context(ALLOWED)?;
    if !allowed.split_whitespace().any(|name| name == "cubic") {
        fs::write(ALLOWED, format!("{} cubic", allowed.trim())).context(ALLOWED)?;
    }
    let program = workspace::target_dir()?.join("release/xtask");
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--", "sh", "-c", r#"ip link set lo up && exec "$0" "$@""#]).arg(program);
    command.args(std::env::args_os().skip(1)).env(ISOLATED, "1");
    Err(command.exec()).context("unshare(1), of package util-linux")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_begin_with_another_one_in_each_round_and_leave_no_one_out() {
        let round = |n| turns(&['a', 'b', 'c'], n).collect::<String>();
        assert_eq!([round(0), round(1), round(2), round(3)], ["abc", "acb", "cab", "cba"]);
        assert_eq!(turns(&[0; 0], 3).count(), 0);
    }
}
