//! `bench latency`: how long clients wait at half the rate that saturates nginx.
//!
//! Requests are due by a fixed schedule, the same for every server, and an answer is late from the
//! moment at which it was due to be asked for: a server that stalls cannot hide what was not asked
//! meanwhile.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use underpass_testkit::server::Server;

use super::load::{Client, Load};
use super::peers::Peer;
use super::report::{Better, Quantity};
use super::{Run, cpu, files, load, stats, turns};

const HALF: Quantity = Quantity { name: "p50 us", better: Better::Less, decimals: 0 };
const TAIL: Quantity = Quantity { name: "p99 us", better: Better::Less, decimals: 0 };
const FAR: Quantity = Quantity { name: "p99.9 us", better: Better::Less, decimals: 0 };
const MAX: Quantity = Quantity { name: "max us", better: Better::Less, decimals: 0 };
const RATE: Quantity = Quantity { name: "req/s", better: Better::Neither, decimals: 0 };

/// Files by name, and their bytes.
const CASES: [(&str, u64); 2] = [("4k", 4 << 10), ("100k", 100 << 10)];

/// How long.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// How long one measurement lasts, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Keep-alive connections.
    #[arg(long, default_value_t = 64)]
    connections: usize,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { seconds: 0.2, connections: 8 } } else { self }
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    cpu::pin_here(cpu::ASKING)?;
    let field = run.field([Peer::Nginx], Peer::Underpass, Peer::name)?;
    let servers = field.into_iter().map(|peer| Ok((peer.start(&root, dir.path())?, peer)));
    let servers: Vec<(Server, Peer)> = servers.collect::<Result<_>>()?;
    for (case, body_bytes) in CASES {
        let (file, _) = files::patterned(&root, case, body_bytes)?;
        let path = format!("/{case}");
        for (server, _) in &servers {
            load::verify(server.address(), &path, &file)?;
        }
        let duration = Duration::from_secs_f64(options.seconds);
        let client = |server: &Server| {
            let (address, connections) = (server.address(), options.connections);
            Client::new(Load { address, path: &path, connections, body_bytes })
        };
        let (slowest, _) = servers.first().context("a server takes part")?;
        let outcome = client(slowest)?.run(duration)?;
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
        let rate = outcome.responses as f64 / outcome.elapsed.as_secs_f64() / 2.0;
        for round in 0..run.rounds {
            for (server, peer) in turns(&servers, round) {
                run.warm(&file, peer.name())?;
                let mut latencies = client(server)?.run_at(rate, duration)?;
                latencies.sort_by(f64::total_cmp);
                for (quantity, share) in [(HALF, 0.5), (TAIL, 0.99), (FAR, 0.999), (MAX, 1.0)] {
                    let value = stats::quantile(&latencies, share);
                    run.report.sample(case, peer.name(), quantity, value);
                }
                run.report.sample(case, peer.name(), RATE, rate);
            }
        }
        let title = format!(
            "{case} files at half the rate that saturates {}, {} connections, {} s",
            servers[0].1.name(),
            options.connections,
            options.seconds
        );
        run.report.table(case, &title, &[FAR, TAIL, HALF, MAX, RATE]);
    }
    Ok(())
}
