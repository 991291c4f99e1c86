//! `bench all`: everything that the README quotes, recorded in one go.
//!
//! Each bench is a process, so a failed one does not keep the others from running. One whose run
//! is already recorded is left out: after an interruption the same command continues.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::report::run_dir;

/// What is recorded as `<date>-<name>`, and the arguments that measure it.
const ALL: [(&str, &[&str]); 20] = [
    ("serve", &["serve"]),
    ("http2", &["http2"]),
    ("latency", &["latency"]),
    ("copy", &["copy", "--part", "tcp"]),
    ("transfer", &["transfer", "--sinks", "tcp", "--caches", "warm", "--rounds", "15"]),
    ("transfer-head", &["transfer", "--sinks", "tcp", "--caches", "warm", "--head"]),
    ("relay", &["relay"]),
    ("tsdb", &["tsdb"]),
    ("log", &["log"]),
    ("log-cold", &["log", "--part", "cold"]),
    ("cold", &["cold"]),
    ("cold-tls", &["cold", "--tls"]),
    ("cold-http2", &["cold", "--http2"]),
    ("cold-http2-tls", &["cold", "--http2", "--tls"]),
    ("idle", &["idle", "--rounds", "3"]),
    ("idle-tls", &["idle", "--tls", "--rounds", "3"]),
    ("idle-http2", &["idle", "--http2", "--rounds", "3"]),
    ("slow-http2", &["slow", "--http2", "--rounds", "3"]),
    ("copy-files", &["copy", "--part", "files", "--mib", "256"]),
    ("transfer-sinks", &["transfer", "--sizes", "4,64,1024,65536"]),
];

/// Runs them all; `date` is that of the runs to record or to continue.
pub(super) fn run(old: Option<&Path>, is_smoke: bool, date: Option<&str>) -> Result<()> {
    let mut failed = Vec::new();
    for (name, arguments) in ALL {
        let run = date.map(|date| format!("{date}-{name}"));
        if run.as_deref().is_some_and(|run| run_dir(run).exists()) {
            println!("\n== {name} is already recorded");
            continue;
        }
        println!("\n== {name}");
        let mut bench = Command::new(std::env::current_exe()?);
        bench.args(arguments);
        if is_smoke {
            bench.arg("--smoke");
        } else if let Some(old) = old {
            bench.arg("--old").arg(old);
        }
        bench.args(run.iter().flat_map(|run| ["--record", run]));
        if !bench.status()?.success() {
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}; the same command measures these again", failed.join(", "));
    }
    Ok(())
}
