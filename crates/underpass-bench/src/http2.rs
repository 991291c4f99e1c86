//! `bench http2`: files of 1 MiB over a few connections of several streams.
//!
//! h2load asks, with windows that are never full, so that the servers decide how much they send at
//! a time. nginx has frames of 8 KiB as shipped; 128k means as long as the client accepts: 16 KiB.
//!
//! Source: ngx_http_v2_module, `http2_chunk_size`; h2load(1).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use underpass_testkit::server::Server;

use super::cpu::Meter;
use super::peers::Peer;
use super::report::{BUSY, FLOW, PRICE};
use super::{Run, cpu, files, turns};
use underpass_testkit::process::output;

/// How many files there are, asked for by turns: one in demand, and more than a server keeps in
/// its memory.
const CASES: [(&str, usize); 2] = [("1m", 1), ("1m of many", 64)];

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

    fn ask(&self, address: SocketAddr, files: &[PathBuf], downloads: u32) -> Result<()> {
        let [downloads, connections, streams] =
            [downloads, self.connections, self.streams].map(|count| count.to_string());
        let mut h2load = Command::new("h2load");
        h2load.args(["-n", &downloads, "-c", &connections, "-m", &streams, "-t", "1"]);
        let said = output(h2load.args(files.iter().map(|file| url(address, file))))?;
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
    let most = CASES.iter().map(|(_, files)| *files).max().unwrap_or_default();
    let all = (0..most).map(|n| Ok(files::patterned(&root, &format!("1m-{n}"), LEN_BYTES)?.0));
    let all: Vec<PathBuf> = all.collect::<Result<_>>()?;
    let peers = [Peer::NginxHttp2("8k"), Peer::NginxHttp2("128k")];
    let mut servers = Vec::new();
    for peer in run.field(peers, Peer::Underpass, Peer::name)? {
        let server = peer.start(&root, dir.path())?;
        verify(server.address(), &all[0]).with_context(|| peer.name().to_owned())?;
        servers.push((peer, server));
    }
    cpu::pin_here(cpu::ASKING)?;
    for (case, count) in CASES {
        for round in 0..run.rounds {
            for (peer, server) in turns(&servers, round) {
                measure(options, case, &all[..count], peer.name(), server, run)?;
            }
        }
        let Options { downloads, connections, streams } = options;
        let title = format!(
            "1 MiB x {downloads}, {connections} connections of {streams} streams, files: {count}"
        );
        run.report.table(case, &title, &[PRICE, FLOW, BUSY]);
    }
    Ok(())
}

fn measure(
    options: &Options,
    case: &str,
    files: &[PathBuf],
    who: &str,
    server: &Server,
    run: &mut Run,
) -> Result<()> {
    for file in files {
        run.warm(file, who)?;
    }
    // A first moment is not counted: caches and the server's own pools.
    let all_at_once = options.connections.saturating_mul(options.streams);
    options.ask(server.address(), files, all_at_once.max(options.downloads / 16))?;
    let meter = Meter::start(server.id())?;
    options.ask(server.address(), files, options.downloads)?;
    let spent = meter.stop()?;
    run.report.moved(case, who, LEN_BYTES * u64::from(options.downloads), spent);
    run.report.sample(case, who, BUSY, spent.busy());
    Ok(())
}

/// Compares what a server sends with the file.
fn verify(address: SocketAddr, file: &Path) -> Result<()> {
    let script = r#"curl -sSf --http2-prior-knowledge "$0" | cmp - "$1""#;
    let url = url(address, file);
    output(Command::new("sh").args(["-c", script, &url]).arg(file))?;
    Ok(())
}

fn url(address: SocketAddr, file: &Path) -> String {
    format!("http://{address}/{}", file.file_name().unwrap_or_default().display())
}
