//! `bench serve`: static file servers side by side.
//!
//! Every round runs every case on every server, in an order that rotates, so that a slow moment
//! of the machine hits all alike; figures of different runs must not be compared, the ratios
//! within one may. "busy" is the share of the server's CPU: where it is clearly below one, the
//! client or the memory was the limit, not the server.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use underpass_testkit::server::Server;

use super::load::{Asking, Client, Load};
use super::peers::Peer;
use super::report::{Better, FLOW, PRICE, Quantity, Report};
use super::{cpu, files, http};

pub(super) const RATE: Quantity = Quantity { name: "req/s", better: Better::More, decimals: 0 };
pub(super) const COST: Quantity =
    Quantity { name: "CPU us/req", better: Better::Less, decimals: 2 };
const BUSY: Quantity = Quantity { name: "busy", better: Better::Neither, decimals: 2 };
const FAILED: Quantity = Quantity { name: "failed", better: Better::Neither, decimals: 0 };

/// How long and on whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// How often each case is measured on each server.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// How long one measurement of small requests lasts, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Keep-alive connections for small requests.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// The servers; the first is what the others are compared with.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "nginx,nginx-nopush,sendfile-loop,underpass"
    )]
    servers: Vec<Peer>,
    /// The cases.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "large,4k,100k")]
    cases: Vec<Case>,
}

impl Options {
    /// Just enough to see that everything still works.
    pub(crate) fn smoke(mut self) -> Self {
        (self.rounds, self.seconds, self.connections) = (1, 0.1, 8);
        self
    }
}

/// What is asked of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Case {
    /// One download of 1 GiB.
    Large,
    /// Files of 4 KiB.
    #[value(name = "4k")]
    Small,
    /// Files of 100 KiB.
    #[value(name = "100k")]
    Medium,
}

impl Case {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Large => "1g",
            Self::Small => "4k",
            Self::Medium => "100k",
        }
    }

    pub(super) fn len_bytes(self, is_smoke: bool) -> u64 {
        match self {
            Self::Large if is_smoke => 16 << 20,
            Self::Large => 1 << 30,
            Self::Small => 4 << 10,
            Self::Medium => 100 << 10,
        }
    }
}

/// Runs the bench.
pub(crate) fn run(options: &Options, is_smoke: bool, report: &mut Report) -> Result<()> {
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let mut running = Vec::new();
    for peer in &options.servers {
        running.push((*peer, peer.start(&root, dir.path())?));
    }
    cpu::pin_here(cpu::ASKING)?;
    let mut paths = Vec::new();
    for case in &options.cases {
        let (path, file) = files::patterned(&root, case.name(), case.len_bytes(is_smoke))?;
        for (_, server) in &running {
            http::verify(server.address(), &format!("/{}", case.name()), &file)?;
        }
        paths.push((*case, path));
    }
    for round in 0..options.rounds as usize {
        for (case, path) in &paths {
            for i in 0..running.len() {
                let Some((peer, server)) = running.get((i + round) % running.len()) else {
                    continue;
                };
                files::warm(path)?;
                let len_bytes = case.len_bytes(is_smoke);
                if *case == Case::Large {
                    large(peer.name(), server, len_bytes, report)?;
                } else if peer.is_concurrent() {
                    let Options { connections, seconds, .. } = *options;
                    small(*case, len_bytes, peer.name(), server, (connections, seconds), report)?;
                }
            }
        }
    }
    print(options, report)
}

/// One download, booked for `who`.
pub(super) fn large(
    who: &'static str,
    server: &Server,
    len_bytes: u64,
    report: &mut Report,
) -> Result<()> {
    let before = cpu::used_by(server.id())?;
    let name = Case::Large.name();
    let mut asking = Asking::new(server.address(), &format!("/{name}"), len_bytes)?;
    let start = Instant::now();
    asking.ask_and_wait()?;
    let took = start.elapsed();
    let used = cpu::used_by(server.id())?.saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "a file of at most 1 GiB")]
    let gigabytes = len_bytes as f64 / 1e9;
    report.sample(name, who, FLOW, gigabytes / took.as_secs_f64());
    report.sample(name, who, PRICE, used.as_secs_f64() / gigabytes);
    report.sample(name, who, BUSY, used.as_secs_f64() / took.as_secs_f64());
    Ok(())
}

/// Many requests over so many connections and seconds, booked for `who`.
pub(super) fn small(
    case: Case,
    body_bytes: u64,
    who: &'static str,
    server: &Server,
    (connections, seconds): (usize, f64),
    report: &mut Report,
) -> Result<()> {
    let path = format!("/{}", case.name());
    let load = Load { address: server.address(), path: &path, connections, body_bytes };
    let mut client = Client::new(load)?;
    // A first moment uncounted: connections, caches and the server's own pools.
    client.run(Duration::from_secs_f64(seconds / 10.0))?;
    let (before, start) = (cpu::used_by(server.id())?, Instant::now());
    let outcome = client.run(Duration::from_secs_f64(seconds))?;
    let took = start.elapsed();
    let used = cpu::used_by(server.id())?.saturating_sub(before);
    ensure!(outcome.responses > 0, "{who} answered no request for {path}: {outcome:?}");
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    let (answered, counted, failed) = (
        (outcome.responses + outcome.late) as f64,
        outcome.responses as f64,
        outcome.failures as f64,
    );
    let case = case.name();
    report.sample(case, who, RATE, counted / outcome.elapsed.as_secs_f64());
    report.sample(case, who, COST, used.as_secs_f64() * 1e6 / answered);
    report.sample(case, who, BUSY, used.as_secs_f64() / took.as_secs_f64());
    report.sample(case, who, FAILED, failed);
    Ok(())
}

fn print(options: &Options, report: &mut Report) -> Result<()> {
    let Options { rounds, seconds, connections, .. } = options;
    report.line(&format!(
        "servers on CPU {}, client on CPU {}, {rounds} rounds, median (worst) and ratio to the \
         first row; bodies verified once",
        cpu::SERVING % cpu::count()?,
        cpu::ASKING % cpu::count()?
    ));
    for case in &options.cases {
        let peers = options.servers.iter();
        let whos: Vec<&str> = peers
            .filter(|peer| *case == Case::Large || peer.is_concurrent())
            .map(|peer| peer.name())
            .collect();
        report.line("");
        if *case == Case::Large {
            report.table(case.name(), "one download of 1 GiB", &whos, &[FLOW, PRICE, BUSY]);
        } else {
            let title = format!("{} files, {connections} connections, {seconds} s", case.name());
            report.table(case.name(), &title, &whos, &[RATE, COST, BUSY, FAILED]);
        }
    }
    Ok(())
}
