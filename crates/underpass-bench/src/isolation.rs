//! Where figures are taken: in an optimised build, in a network namespace made for it.
//!
//! Source: network_namespaces(7); ip-sysctl of the kernel's documentation.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use underpass_testkit::workspace;

/// Set in the environment of the optimised, isolated half.
const ISOLATED: &str = "UNDERPASS_BENCH_ISOLATED";

const CONGESTION_CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// What a namespace other than the first may choose from: ip-sysctl,
/// `tcp_allowed_congestion_control`.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// Thousands of connections a second leave as many ports in TIME_WAIT; with the usual 28,232
/// ports connect(2) has to search for a free one, which would be charged to the relay.
const PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Whether this process is the optimised, isolated half.
pub(crate) fn is_isolated() -> bool {
    std::env::var_os(ISOLATED).is_some()
}

/// Sets what the namespace needs before anything is measured.
pub(crate) fn settle() -> Result<()> {
    fs::write(CONGESTION_CONTROL, "cubic").context(CONGESTION_CONTROL)?;
    fs::write(PORTS, "1024 65535").context(PORTS)
}

/// Replaces this process by an optimised build of itself in a new network namespace.
///
/// Where `cubic` is reserved for the first namespace, it is first put on the list of what any
/// process may choose, where it stays until the next boot.
///
/// # Errors
///
/// Only ever returns with one: if the build fails, or if unshare(1) is not there.
pub(crate) fn isolate() -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--release", "--package=underpass-bench", "--package=underpass-cli"]);
    build.arg("--features=underpass-bench/uring");
    ensure!(build.status()?.success(), "no optimised build to measure");
    let allowed = fs::read_to_string(ALLOWED).context(ALLOWED)?;
    if !allowed.split_whitespace().any(|name| name == "cubic") {
        fs::write(ALLOWED, format!("{} cubic", allowed.trim())).context(ALLOWED)?;
    }
    let program = workspace::target_dir()?.join("release/underpass-bench");
    let mut command = Command::new("unshare");
    command.arg("--net");
    if !rustix::process::geteuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--", "sh", "-c", r#"ip link set lo up && exec "$0" "$@""#]).arg(program);
    command.args(std::env::args_os().skip(1)).env(ISOLATED, "1");
    Err(command.exec()).context("unshare(1), of package util-linux")
}
