//! `bench http2`: files of 1 MiB over a few connections of several streams.
//!
//! h2load asks, with windows that are never full, so that the servers decide how much they send at
//! a time. nginx has frames of 8 KiB as shipped; 128k means as long as the client accepts: 16 KiB.
//!
//! Source: ngx_http_v2_module, `http2_chunk_size`; h2load(1).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::cpu::Meter;
use super::peers::Peer;
use super::report::{BUSY, FLOW, PRICE};
use super::{Run, cpu, files, turns};
use crate::process::output;

const CASE: &str = "1m";

const LEN_BYTES: u64 = 1 << 20;

/// How much is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Files in one measurement.
    #[arg(long, default_value_t = 4096)]
    downloads: u32,
    /// Connections.
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Streams of each at a time.
    #[arg(long, default_value_t = 4)]
    streams: u32,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke { Self { downloads: 32, ..self } } else { self }
    }

    fn ask(&self, address: SocketAddr, downloads: u32) -> Result<()> {
        let [downloads, connections, streams] =
            [downloads, self.connections, self.streams].map(|count| count.to_string());
        let mut h2load = Command::new("h2load");
        h2load.args(["-n", &downloads, "-c", &connections, "-m", &streams, "-t", "1"]);
        let said = output(h2load.arg(format!("http://{address}/{CASE}")))?;
        let all = format!(" {downloads} succeeded, 0 failed, 0 errored, 0 timeout");
        ensure!(said.contains(&all), "h2load, of package nghttp2-client, said: {said}");
        Ok(())
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let (path, _) = files::patterned(&root, CASE, LEN_BYTES)?;
    let peers = [Peer::NginxHttp2("8k"), Peer::NginxHttp2("128k")];
    let mut servers = Vec::new();
    for peer in run.field(peers, Peer::Underpass, Peer::name)? {
        let server = peer.start(&root, dir.path())?;
        verify(server.address(), &path).with_context(|| peer.name().to_owned())?;
        servers.push((peer, server));
    }
    cpu::pin_here(cpu::ASKING)?;
    for round in 0..run.rounds {
        for (peer, server) in turns(&servers, round) {
            let who = peer.name();
            run.warm(&path, who)?;
            // A first moment is not counted: caches and the server's own pools.
            let all_at_once = options.connections.saturating_mul(options.streams);
            options.ask(server.address(), all_at_once.max(options.downloads / 16))?;
            let meter = Meter::start(server.id())?;
            options.ask(server.address(), options.downloads)?;
            let spent = meter.stop()?;
            run.report.moved(CASE, who, LEN_BYTES * u64::from(options.downloads), spent);
            run.report.sample(CASE, who, BUSY, spent.busy());
        }
    }
    let Options { downloads, connections, streams } = options;
    let title = format!("1 MiB x {downloads}, {connections} connections of {streams} streams");
    run.report.table(CASE, &title, &[PRICE, FLOW, BUSY]);
    Ok(())
}

/// Compares what a server sends with the file.
fn verify(address: SocketAddr, file: &Path) -> Result<()> {
    let script = r#"curl -sSf --http2-prior-knowledge "$0" | cmp - "$1""#;
    let url = format!("http://{address}/{CASE}");
    output(Command::new("sh").args(["-c", script, &url]).arg(file)).map(drop)
}
