//! `cargo xtask bench`: the project's measurements, each against its competitors in one run.
//!
//! A bench runs in a network namespace of its own, so that loopback there has `cubic` (the
//! default `bbr` paces loopback and makes sendfile look slow) and nobody else's traffic, and
//! nothing has to be restored afterwards. It also builds and runs an optimised build of itself:
//! figures of a debug build are never shown. `--smoke` skips both, because it measures nothing;
//! it shows that every bench still runs.

mod cold;
mod copy;
mod cpu;
mod drain;
mod files;
mod http;
mod idle;
mod load;
mod peers;
mod relay;
mod relay_idle;
mod report;
mod serve;
mod stats;
mod transfer;
mod watching;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use crate::workspace;
use report::Report;

/// Set in the environment of the optimised, isolated half.
const ISOLATED: &str = "UNDERPASS_BENCH_ISOLATED";

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// What a namespace other than the first may choose from: ip-sysctl,
/// `tcp_allowed_congestion_control`.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// The names of the benches, as the command line has them.
pub(crate) const NAMES: [&str; 7] =
    ["serve", "idle", "cold", "transfer", "watching", "relay", "copy"];

/// Those that limit a disk or look into the kernel.
pub(crate) const NAMES_OF_ROOT: [&str; 2] = ["cold", "watching"];

/// Measures this workspace beside its competitors.
#[derive(Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    bench: Bench,
    /// Only shows that the bench runs: tiny sizes, one round, a debug build.
    #[arg(long, global = true)]
    smoke: bool,
    /// Leaves the run in `bench/runs/<date>-<NAME>/`.
    #[arg(long, global = true, value_name = "NAME", conflicts_with = "smoke")]
    record: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// Static file servers: a 1 GiB download, and small files over keep-alive connections.
    Serve(serve::Options),
    /// Memory that idle connections cost a server.
    Idle(idle::Options),
    /// Latency of cached files while another client reads one from a slow disk.
    Cold(cold::Options),
    /// Every method of the engine, from a file to every kind of sink.
    Transfer(transfer::Options),
    /// A server with `underpass explain` attached to it, and without.
    Watching(watching::Options),
    /// TCP relays: bulk, small round trips, new connections.
    Relay(relay::Options),
    /// Files to sockets and to files, beside socat, nc and cp.
    Copy(copy::Options),
}

/// Runs one bench, first moving to an optimised build in a namespace of its own.
pub(crate) fn run(options: Options) -> Result<()> {
    let is_isolated = std::env::var_os(ISOLATED).is_some();
    if !options.smoke && !is_isolated {
        return isolate();
    }
    if options.smoke {
        println!("figures of a smoke run mean nothing and are not shown");
        let mut build = workspace::cargo();
        let status = build.args(["build", "--quiet", "--package=underpass-cli"]).status()?;
        ensure!(status.success(), "the command underpass does not build");
    } else {
        fs::write(CONGESTION_CONTROL, "cubic").context(CONGESTION_CONTROL)?;
    }
    let mut report = Report::new(options.smoke);
    // Others who work on the same CPUs spoil every figure; ratios suffer least.
    report.line(&format!("load average before: {}", report::load_average()?));
    match options.bench {
        Bench::Serve(serve) if options.smoke => serve::run(&serve.smoke(), true, &mut report),
        Bench::Serve(serve) => serve::run(&serve, false, &mut report),
        Bench::Idle(idle) if options.smoke => idle::run(&idle.smoke(), &mut report),
        Bench::Idle(idle) => idle::run(&idle, &mut report),
        Bench::Cold(cold) if options.smoke => cold::run(&cold.smoke(), &mut report),
        Bench::Cold(cold) => cold::run(&cold, &mut report),
        Bench::Transfer(all) if options.smoke => transfer::run(&all.smoke(), &mut report),
        Bench::Transfer(all) => transfer::run(&all, &mut report),
        Bench::Watching(all) if options.smoke => watching::run(&all.smoke(), true, &mut report),
        Bench::Watching(all) => watching::run(&all, false, &mut report),
        Bench::Relay(all) if options.smoke => relay::run(&all.smoke(), &mut report),
        Bench::Relay(all) => relay::run(&all, &mut report),
        Bench::Copy(all) if options.smoke => copy::run(&all.smoke(), &mut report),
        Bench::Copy(all) => copy::run(&all, &mut report),
    }?;
    if let Some(name) = options.record {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        report.record(&name, &format!("cargo xtask {}", arguments.join(" ")))?;
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
