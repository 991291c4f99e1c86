//! `cargo xtask clients`: what Kafka's clients can do with `underpass log`, for `docs`.
//!
//! The programs are those that the tests run, each on a new server; see the testkit's
//! `kafka`. Here the page is written; the tests compare with it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use underpass_testkit::kafka::{Answer, Apache, Broker, Client, Feature, Page, Tool};
use underpass_testkit::server::{Server, free_address};

use underpass_testkit::workspace;

/// What is run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// On Apache Kafka instead; prints the page and leaves the one in `docs` as it is.
    #[arg(long)]
    kafka: bool,
}

/// Where the page is.
const PAGE: &str = "docs/log-clients.md";

/// A server of either kind, ended with this.
struct Peer {
    address: SocketAddr,
    data: PathBuf,
    _server: Box<dyn std::any::Any>,
    _dir: tempfile::TempDir,
}

/// Runs every client and tool.
pub(crate) fn run(options: &Options) -> Result<()> {
    let apache = Apache::fetched().map_err(|missing| anyhow!("{}", missing.why()))?;
    let program = if options.kafka { None } else { Some(built()?) };
    let start = || start(program.as_deref(), &apache);
    let mut page = Page::default();
    // Most of the time a client waits for its group.
    let tried = std::thread::scope(|scope| {
        let threads = Client::ALL.map(|client| scope.spawn(move || answers(client, &start()?)));
        Client::ALL
            .into_iter()
            .zip(threads.map(std::thread::ScopedJoinHandle::join))
            .collect::<Vec<_>>()
    });
    for (client, answers) in tried {
        let answers = answers.map_err(|_| anyhow!("{}: a panic", client.name()))??;
        println!("{}", client.name());
        for (feature, answer) in &answers {
            println!("  {}: {answer:?}", feature.title());
        }
        page.add(client, answers);
    }
    println!("Kafka's tools");
    let peer = start()?;
    page.add_tools(Tool::run_all(&apache, peer.address, &peer.data)?);
    if options.kafka {
        println!("\n{}", page.text());
        return Ok(());
    }
    let path = workspace::root().join(PAGE);
    std::fs::write(&path, page.text()).with_context(|| path.display().to_string())?;
    println!("written to {PAGE}");
    Ok(())
}

fn answers(client: Client, peer: &Peer) -> Result<Vec<(Feature, Answer)>> {
    let ready = client.ready().map_err(|missing| anyhow!("{}", missing.why()))?;
    Ok(ready.try_all(peer.address, &peer.data)?)
}

fn built() -> Result<PathBuf> {
    let mut build = workspace::cargo();
    let status = build.args(["build", "--quiet", "--package=underpass-cli"]).status()?;
    ensure!(status.success(), "the command underpass does not build");
    Ok(workspace::target_dir()?.join("debug/underpass"))
}

fn start(program: Option<&Path>, apache: &Apache) -> Result<Peer> {
    let dir = tempfile::tempdir()?;
    let Some(program) = program else {
        let broker = Broker::start(apache, dir.path(), "", Command::new("java"))?;
        let (address, data) = (broker.address(), broker.data().to_owned());
        return Ok(Peer { address, data, _server: Box::new(broker), _dir: dir });
    };
    let address = free_address()?;
    let mut command = Command::new(program);
    command.args(["log", "--listen", &address.to_string(), "--data"]).arg(dir.path());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let server = Server::start(&mut command, address)?;
    Ok(Peer { address, data: dir.path().to_owned(), _server: Box::new(server), _dir: dir })
}
