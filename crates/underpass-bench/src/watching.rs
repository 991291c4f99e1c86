//! `bench watching`: what a server loses while `underpass explain` is attached to it.
//!
//! The same nginx serves bare, watched within the default budget, and watched without one, in
//! turns. The watcher itself has the client's CPU, so what the server's CPU shows is the cost of
//! what the kernel does for it.

mod intervals;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use underpass_testkit::server::Server;

use super::peers::{NEW, Peer};
use super::report::{Better, Quantity};
use super::serve::{Case, Size, prepare};
use super::{Run, cpu, files, turns};

const BARE: &str = "bare";
const WATCHED: &str = "watched";
const WATCHED_WHOLE: &str = "watched, all of it";

const LOST: Quantity = Quantity { name: "events lost", better: Better::Neither, decimals: 0 };
const LOOKED: Quantity = Quantity { name: "looked %", better: Better::Neither, decimals: 0 };

/// How long a watch of `--intervals` is, of which it rests most.
const LOAD_OF_AN_INTERVAL: Duration = Duration::from_secs(6);

/// What is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    #[command(flatten)]
    load: Size,
    /// The cases.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "large,100k,4k")]
    cases: Vec<Case>,
    /// In place of the cases: this many loads of large and small files, each watched, and how
    /// often the share that left by reference was within the interval that was told.
    #[arg(long, value_name = "N")]
    intervals: Option<u32>,
    /// What the loads of `--intervals` are drawn from.
    #[arg(long, default_value_t = 15)]
    seed: u64,
}

impl Options {
    pub(super) fn fitting(mut self, is_smoke: bool) -> Self {
        self.load = self.load.fitting(is_smoke);
        self.intervals = self.intervals.map(|count| if is_smoke { 3 } else { count });
        self
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    if let Some(count) = options.intervals {
        return intervals::run(count, options.seed, LOAD_OF_AN_INTERVAL, run);
    }
    let (dir, size) = (files::scratch()?, options.load);
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let servers = [(Peer::Nginx, Peer::Nginx.start(&root, dir.path())?)];
    let [(_, server)] = &servers;
    cpu::pin_here(cpu::ASKING)?;
    let mut whos = vec![BARE, WATCHED, WATCHED_WHOLE];
    whos.retain(|who| run.is_named(who));
    for case in &options.cases {
        let path = prepare(*case, size, &root, &servers)?;
        for round in 0..run.rounds {
            for who in turns(&whos, round) {
                run.warm(&path, who)?;
                let watcher = Watcher::of(who, server)?;
                case.measure(size, who, server, &mut run.report)?;
                let seen = watcher.map(Watcher::detach).transpose()?.unwrap_or_default();
                run.report.sample(case.name(), who, LOOKED, seen.looked);
                run.report.sample(case.name(), who, LOST, seen.lost);
            }
        }
        case.print(size, &[LOOKED, LOST], &mut run.report);
    }
    Ok(())
}

/// What a watch told.
#[derive(Debug, Default)]
struct Seen {
    /// The percentage of the time that it looked.
    looked: f64,
    /// Events that it lost.
    lost: f64,
    /// What the percentage of file bytes that left by reference is between.
    interval: Option<(f64, f64)>,
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

    /// The watcher inherits the CPU of the caller, which is the client's.
    fn attach(server: &Server, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?.with_file_name(NEW));
        command.args(["explain", &server.id().to_string(), "--json"]).args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut watcher = Self(child);
        let errors = watcher.0.stderr.take().context("standard error is a pipe")?;
        let mut line = String::new();
        BufReader::new(errors).read_line(&mut line)?;
        ensure!(line.contains("in tier A"), "explain said: {line}");
        Ok(watcher)
    }

    /// Ends the watch.
    fn detach(mut self) -> Result<Seen> {
        kill_process(Pid::from_child(&self.0), Signal::INT)?;
        let mut said = String::new();
        let mut stdout = self.0.stdout.take().context("standard output is a pipe")?;
        stdout.read_to_string(&mut said)?;
        let status = self.0.wait()?;
        ensure!(status.success(), "explain ended with {status}");
        let summary: serde_json::Value = serde_json::from_str(&said)?;
        let looked = summary["looked_percent"].as_f64().unwrap_or(100.0);
        let lost = summary["report"]["lost_events"].as_f64().context("no events in a report")?;
        let bound = |name: &str| summary["by_reference_interval"][name].as_f64();
        let interval = bound("low").zip(bound("high"));
        Ok(Seen { looked, lost, interval })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
