//! `bench serve`: static file servers side by side.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;
use underpass_testkit::server::Server;

use super::cpu::Meter;
use super::load::{Asking, Client, Load, Room, verify};
use super::peers::{Crate, Peer};
use super::report::{BUSY, Better, FLOW, PRICE, Quantity, Report};
use super::{Run, cpu, files, turns};

const COST: Quantity = Quantity { name: "CPU us/req", better: Better::Less, decimals: 2 };
const RATE: Quantity = Quantity { name: "req/s", better: Better::More, decimals: 0 };
const FAILED: Quantity = Quantity { name: "failed", better: Better::Neither, decimals: 0 };

/// What is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    #[command(flatten)]
    pub load: Size,
    /// The cases.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "large,4k,100k")]
    cases: Vec<Case>,
    /// Also h2o, Caddy (which must be installed), static-web-server, miniserve and dufs (which are
    /// built at first, for some minutes).
    #[arg(long)]
    others: bool,
}

/// How much is asked for.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct Size {
    /// How long one measurement of small requests lasts, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Keep-alive connections for small requests.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Downloads of the large file in one measurement.
    #[arg(long, default_value_t = 4)]
    downloads: u32,
    /// Size of the large file, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
}

impl Options {
    /// Builds what takes part and is not there yet.
    pub(super) fn prepare(&self) -> Result<()> {
        if self.others { Crate::install_all() } else { Ok(()) }
    }

    pub(super) fn fitting(mut self, is_smoke: bool) -> Self {
        self.load = self.load.fitting(is_smoke);
        self
    }
}

impl Size {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        let least = Self { seconds: 0.1, connections: 8, downloads: 1, mib: 16 };
        if is_smoke { least } else { self }
    }
}

/// What is asked of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Case {
    /// A large file, over one connection.
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
            Self::Large => "large",
            Self::Small => "4k",
            Self::Medium => "100k",
        }
    }

    pub(super) fn len_bytes(self, size: Size) -> u64 {
        match self {
            Self::Large => size.mib << 20,
            Self::Small => 4 << 10,
            Self::Medium => 100 << 10,
        }
    }

    /// One measurement, kept for `who`.
    pub(super) fn measure(
        self,
        size: Size,
        who: &str,
        server: &Server,
        report: &mut Report,
    ) -> Result<()> {
        if self == Self::Large {
            large(size, who, server, report)
        } else {
            self.small(size, who, server, report)
        }
    }

    fn small(self, size: Size, who: &str, server: &Server, report: &mut Report) -> Result<()> {
        let path = format!("/{}", self.name());
        let (connections, body_bytes) = (size.connections, self.len_bytes(size));
        let load = Load { address: server.address(), path: &path, connections, body_bytes };
        let mut client = Client::new(load)?;
        // A first moment is not counted: connections, caches and the server's own pools.
        client.run(Duration::from_secs_f64(size.seconds / 10.0))?;
        let meter = Meter::start(server.id())?;
        let outcome = client.run(Duration::from_secs_f64(size.seconds))?;
        let spent = meter.stop()?;
        ensure!(outcome.responses > 0, "{who} answered no request for {path}: {outcome:?}");
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
        let [answered, counted, failed] =
            [outcome.responses + outcome.late, outcome.responses, outcome.failures]
                .map(|count| count as f64);
        report.sample(self.name(), who, COST, spent.cpu.as_secs_f64() * 1e6 / answered);
        report.sample(self.name(), who, RATE, counted / outcome.elapsed.as_secs_f64());
        report.sample(self.name(), who, BUSY, spent.busy());
        report.sample(self.name(), who, FAILED, failed);
        Ok(())
    }

    /// Prints what was measured, and the columns that explain it.
    pub(super) fn print(self, size: Size, more: &[Quantity], report: &mut Report) {
        let Size { connections, seconds, downloads, mib } = size;
        let (title, columns) = if self == Self::Large {
            (format!("{mib} MiB, {downloads} downloads"), vec![PRICE, FLOW, BUSY])
        } else {
            let title = format!("{} files, {connections} connections, {seconds} s", self.name());
            (title, vec![COST, RATE, BUSY, FAILED])
        };
        report.table(self.name(), &title, &[&columns, more].concat());
    }
}

fn large(size: Size, who: &str, server: &Server, report: &mut Report) -> Result<()> {
    let (case, len_bytes) = (Case::Large, Case::Large.len_bytes(size));
    let mut asking = Asking::new(server.address(), &format!("/{}", case.name()), len_bytes)?;
    let mut room = Room::new();
    let meter = Meter::start(server.id())?;
    for _ in 0..size.downloads {
        asking.ask_and_wait(&mut room)?;
    }
    let spent = meter.stop()?;
    report.moved(case.name(), who, len_bytes * u64::from(size.downloads), spent);
    report.sample(case.name(), who, BUSY, spent.busy());
    Ok(())
}

/// Writes the file of a case, and compares what each server sends with it.
pub(super) fn prepare(
    case: Case,
    size: Size,
    root: &Path,
    servers: &[(Peer, Server)],
) -> Result<std::path::PathBuf> {
    let (path, _) = files::patterned(root, case.name(), case.len_bytes(size))?;
    for (_, server) in servers {
        verify(server.address(), &format!("/{}", case.name()), &path)?;
    }
    Ok(path)
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let (dir, size) = (files::scratch()?, options.load);
    let root = dir.path().join("root");
    std::fs::create_dir(&root)?;
    let peers = [Peer::Nginx, Peer::NginxAsShipped, Peer::CorkedLoop, Peer::BareLoop];
    let mut servers = Vec::new();
    let others = [
        Peer::H2o,
        Peer::Caddy,
        Peer::Crate(Crate::StaticWebServer),
        Peer::Crate(Crate::Miniserve),
        Peer::Crate(Crate::Dufs),
    ];
    let others = others.into_iter().filter(|_| options.others);
    for peer in run.field(peers.into_iter().chain(others), Peer::Underpass, Peer::name)? {
        let server = peer.start(&root, dir.path())?;
        servers.push((peer, server));
    }
    cpu::pin_here(cpu::ASKING)?;
    for case in &options.cases {
        let path = prepare(*case, size, &root, &servers)?;
        for round in 0..run.rounds {
            for (peer, server) in turns(&servers, round) {
                run.warm(&path, peer.name())?;
                case.measure(size, peer.name(), server, &mut run.report)?;
            }
        }
        case.print(size, &[], &mut run.report);
    }
    Ok(())
}
