//! `bench log`: `underpass log` and Apache Kafka 4.1, each bound to one CPU.
//!
//! Both are asked the same by one generator on the other CPU. Kafka's compiler needs several
//! seconds of a load before its figures stand still, so every case is run for some time before it
//! is counted, for both. Both servers run all the time and the one that is not asked is idle.
//!
//! Without durable answers neither waits for a disk. With them `underpass log` answers `acks=all`
//! after fdatasync(2), and Kafka has `flush.messages=1` on the topic, which makes it flush each
//! batch before it answers.

mod case;
mod client;
mod cold;
mod floor;
mod frames;
mod server;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use underpass_testkit::kafka::Apache;
use underpass_testkit::log::batch::{self, Sequence};
use underpass_testkit::log::client::Client;

use super::cpu;
use super::report::{Better, Quantity};
use super::{Run, files, idle, turns};
use case::{FETCHES, PRODUCES, Produce};
use server::{Peer, Promise, Running, Stopped};

const MEMORY: Quantity = Quantity { name: "MiB", better: Better::Less, decimals: 1 };
const START: Quantity = Quantity { name: "ms", better: Better::Less, decimals: 1 };

/// What is asked.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// Measure one part only.
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Measure only cases whose name has this in it.
    #[arg(long, default_value = "", hide_default_value = true)]
    case: String,
    /// How long one measurement lasts, in seconds.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How long a case is run before it is counted, in seconds.
    #[arg(long, default_value_t = 4.0)]
    warm: f64,
    /// Size of what is fetched, in MiB.
    #[arg(long, default_value_t = 1024)]
    mib: u64,
    /// Partitions of `underpass log` when its start is measured.
    #[arg(long, default_value_t = 1000)]
    partitions: i32,
    /// Size of the backlog that is read from a slow disk, in MiB, for each server.
    #[arg(long, default_value_t = 10 << 10)]
    backlog_mib: u64,
    /// What that disk reads, in MiB/s.
    #[arg(long, default_value_t = 20)]
    cold_rate: u64,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Fetches of what is in the page cache.
    Fetch,
    /// Producing, answered before it is on the disk.
    Produce,
    /// Producing, answered when it is durable.
    Durable,
    /// From the start of the program to its first answer.
    Start,
    /// Others' latency while one reads a backlog from a slow disk. Only when it is named: it takes
    /// root, and room for a backlog for each server.
    Cold,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        if is_smoke {
            let (mib, partitions) = (16, 20);
            let (backlog_mib, cold_rate) = (48, 4);
            let (seconds, warm) = (0.1, 0.1);
            return Self { seconds, warm, mib, partitions, backlog_mib, cold_rate, ..self };
        }
        self
    }

    fn has(&self, part: Part) -> bool {
        self.part.map_or(part != Part::Cold, |only| only == part)
    }

    fn backlog(&self) -> u64 {
        self.backlog_mib << 20
    }

    fn names(&self, case: &str) -> bool {
        case.contains(&self.case)
    }

    fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn warm_time(&self) -> Duration {
        Duration::from_secs_f64(self.warm)
    }
}

/// Fetches what has to come over a network, which a measuring run does not have.
pub(super) fn prepare() -> Result<()> {
    Apache::fetched().map(drop).map_err(|missing| anyhow::anyhow!("{}", missing.why()))
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    cpu::pin_here(cpu::ASKING)?;
    let peers = run.field([Peer::Kafka], Peer::Log, Peer::name)?;
    if options.has(Part::Fetch) {
        fetch(options, &peers, run)?;
    }
    if options.has(Part::Produce) {
        produce(options, &peers, Promise::Written, run)?;
    }
    if options.has(Part::Durable) {
        produce(options, &peers, Promise::Durable, run)?;
    }
    if options.has(Part::Start) {
        start(options, &peers, run)?;
    }
    if options.has(Part::Cold) {
        cold::run(options, &peers, run)?;
    }
    Ok(())
}

fn start_all(peers: &[Peer], promise: Promise) -> Result<Vec<Running>> {
    let start = |peer: &Peer| {
        let scratch = files::scratch()?;
        peer.start(scratch, promise).with_context(|| format!("{} did not start", peer.name()))
    };
    peers.iter().map(start).collect()
}

fn fetch(options: &Options, peers: &[Peer], run: &mut Run) -> Result<()> {
    let mut servers = start_all(peers, Promise::Written)?;
    for case in FETCHES.iter().filter(|case| options.names(case.name)) {
        case.fill(&servers, options.mib << 20)?;
        if let (true, Some(broker)) = (run.is_named(Peer::Floor.name()), servers.last()) {
            servers.push(floor::fetch(case, broker, options.mib << 20)?);
        }
        for server in &servers {
            case.run(server, options.mib << 20, options.warm_time())?;
        }
        for round in 0..run.rounds {
            for server in turns(&servers, round) {
                for file in case.files(server)? {
                    run.warm(&file, server.name)?;
                }
                let measured = case.measure(server, options.mib << 20, options.time())?;
                case.sample(&mut run.report, server.name, &measured);
            }
        }
        run.report.table(case.name, case.title, case.columns());
        servers.truncate(peers.len());
    }
    memory(&servers, "fetch", "anonymous memory after all fetches", run)
}

fn produce(options: &Options, peers: &[Peer], promise: Promise, run: &mut Run) -> Result<()> {
    let servers = start_all(peers, promise)?;
    let is_measured = |case: &&Produce| promise == Promise::Written || case.is_durable_too;
    for case in PRODUCES.iter().filter(is_measured).filter(|case| options.names(case.name)) {
        for server in &servers {
            case.measure(server, promise, options.warm_time())?;
        }
        for round in 0..run.rounds {
            for server in turns(&servers, round) {
                let measured = case.measure(server, promise, options.time())?;
                case.sample(&mut run.report, server.name, promise, &measured);
            }
            let floor = Peer::Floor.name();
            if let (Promise::Written, true, Some(broker)) =
                (promise, run.is_named(floor), servers.last())
            {
                let measured = floor::produce(case, broker, options.time())?;
                case.sample(&mut run.report, floor, promise, &measured);
            }
        }
        let title = format!("{}, {}", case.title, promise.words());
        run.report.table(&case.name(promise), &title, &Produce::COLUMNS);
    }
    let words = promise.words();
    memory(&servers, words, &format!("anonymous memory after all that, {words}"), run)
}

fn memory(servers: &[Running], case: &str, title: &str, run: &mut Run) -> Result<()> {
    let case = format!("memory {case}");
    for server in servers {
        let kib = f64::from(u32::try_from(idle::anonymous_kib(server.id())?)?);
        run.report.sample(&case, server.name, MEMORY, kib / 1024.0);
    }
    run.report.table(&case, title, &[MEMORY]);
    Ok(())
}

/// Kafka has no topic of anybody's; `underpass log` has one of this many partitions, with a record
/// in each.
fn start(options: &Options, peers: &[Peer], run: &mut Run) -> Result<()> {
    let servers = start_all(peers, Promise::Durable)?;
    for server in servers.iter().filter(|server| !server.is_kafka()) {
        let mut client = Client::connect(server.address())?;
        client.create_topic("many", options.partitions, &[])?;
        let batch = batch::of(&[b"record"], 0, Sequence::NONE);
        for partition in 0..options.partitions {
            client.produce("many", partition, -1, &batch)?;
        }
    }
    let stopped = servers.into_iter().map(Running::stop).collect::<Result<_>>()?;
    let count = options.partitions;
    let title = format!("start to first answer, {count} partitions");
    let stopped = starts(stopped, "start", &title, Running::stop, run)?;
    // The first start is one after an orderly end, and is not counted.
    let killed = stopped.into_iter().map(|one| one.start_and_ask()?.1.kill());
    let killed = killed.collect::<Result<_>>()?;
    starts(killed, "start killed", &format!("{title}, after SIGKILL"), Running::kill, run)?;
    Ok(())
}

fn starts(
    mut ended: Vec<Stopped>,
    case: &str,
    title: &str,
    end: fn(Running) -> Result<Stopped>,
    run: &mut Run,
) -> Result<Vec<Stopped>> {
    for _ in 0..run.rounds.min(3) {
        for place in 0..ended.len() {
            let (time, server) = ended.remove(place).start_and_ask()?;
            run.report.sample(case, server.name, START, time.as_secs_f64() * 1e3);
            ended.insert(place, end(server)?);
        }
    }
    run.report.table(case, title, &[START]);
    Ok(ended)
}
