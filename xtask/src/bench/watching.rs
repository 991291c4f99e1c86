//! `bench watching`: what a server loses while `underpass explain` is attached to it.
//!
//! The same nginx serves bare, watched within the default budget, and watched without one, in
//! turns. The watcher itself has the client's CPU, so what the server's CPU shows is the cost of
//! what the kernel does for it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use underpass_testkit::server::Server;

use super::peers::{self, Peer};
use super::report::{Better, FLOW, PRICE, Quantity, Report};
use super::serve::{COST, Case, RATE, large, small};
use super::{cpu, files, http};

/// How long.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How often each case is measured, bare and watched.
    #[arg(long, default_value_t = 11)]
    rounds: u32,
    /// How long one measurement of small requests lasts, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Keep-alive connections for small requests.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The cases.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "large,100k,4k")]
    cases: Vec<Case>,
}

impl Options {
    /// Just enough to see that everything still works.
    pub(crate) fn smoke(mut self) -> Self {
        (self.rounds, self.seconds, self.connections) = (1, 0.1, 8);
        self
    }
}

const BARE: &str = "bare";
const WATCHED: &str = "watched";
const WATCHED_WHOLE: &str = "watched, all of it";

const WHOS: [&str; 3] = [BARE, WATCHED, WATCHED_WHOLE];

const LOST: Quantity = Quantity { name: "events lost", better: Better::Neither, decimals: 0 };
const LOOKED: Quantity = Quantity { name: "looked %", better: Better::Neither, decimals: 0 };

/// Downloads of the large file in one round: a watch needs a moment to learn what it costs.
const DOWNLOADS: u32 = 6;

/// Runs the bench.
pub(crate) fn run(options: &Options, is_smoke: bool, report: &mut Report) -> Result<()> {
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let server = Peer::NginxNopush.start(&root, dir.path())?;
    cpu::pin_here(cpu::ASKING)?;
    for case in &options.cases {
        let (path, file) = files::patterned(&root, case.name(), case.len_bytes(is_smoke))?;
        http::verify(server.address(), &format!("/{}", case.name()), &file)?;
        for round in 0..options.rounds {
            let first = usize::try_from(round)? % WHOS.len();
            for who in WHOS.into_iter().cycle().skip(first).take(WHOS.len()) {
                files::warm(&path)?;
                let watcher = Watcher::of(who, &server)?;
                let len_bytes = case.len_bytes(is_smoke);
                if *case == Case::Large {
                    for _ in 0..DOWNLOADS {
                        large(who, &server, len_bytes, report)?;
                    }
                } else {
                    let load = (options.connections, options.seconds);
                    small(*case, len_bytes, who, &server, load, report)?;
                }
                let (looked, lost) = watcher.map_or(Ok((0.0, 0.0)), Watcher::detach)?;
                report.sample(case.name(), who, LOOKED, looked);
                report.sample(case.name(), who, LOST, lost);
            }
        }
    }
    report.line(&format!("nginx with tcp_nopush, {} rounds, median (worst)", options.rounds));
    for case in &options.cases {
        report.line("");
        let [rate, cost] = if *case == Case::Large { [FLOW, PRICE] } else { [RATE, COST] };
        report.table(case.name(), case.name(), &WHOS, &[rate, cost, LOOKED, LOST]);
    }
    Ok(())
}

/// `underpass explain`, attached.
struct Watcher(Child);

impl Watcher {
    fn of(who: &str, server: &Server) -> Result<Option<Self>> {
        match who {
            WATCHED => Self::attach(server, &[]).map(Some),
            WATCHED_WHOLE => Self::attach(server, &["--budget", "100"]).map(Some),
            _ => Ok(None),
        }
    }

    fn attach(server: &Server, arguments: &[&str]) -> Result<Self> {
        let mut command = cpu::pinned(cpu::ASKING, peers::underpass()?)?;
        command.args(["explain", &server.id().to_string(), "--json"]).args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut watcher = Self(child);
        let errors = watcher.0.stderr.take().context("standard error is a pipe")?;
        let mut line = String::new();
        BufReader::new(errors).read_line(&mut line)?;
        ensure!(line.contains("in tier A"), "explain said: {line}");
        Ok(watcher)
    }

    /// Ends the watch; the percentage of the time that it looked, and the events it lost.
    fn detach(mut self) -> Result<(f64, f64)> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let mut said = String::new();
        let mut stdout = self.0.stdout.take().context("standard output is a pipe")?;
        stdout.read_to_string(&mut said)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "explain ended with {status}");
        let summary: serde_json::Value = serde_json::from_str(&said)?;
        let looked = summary["looked_percent"].as_f64().unwrap_or(100.0);
        let lost = summary["report"]["lost_events"].as_f64().context("no events in a report")?;
        Ok((looked, lost))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
