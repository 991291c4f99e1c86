//! `bench log --part cold`: what a consumer of a cold backlog costs the others.
//!
//! Each server has its own disk, from which reads are slowed, with a backlog that is not in the
//! page cache. One consumer reads it from its start on, 1 MiB a fetch. Meanwhile others append to
//! topics on the same disk, or fetch what is in the page cache; just before they did so without
//! it. What was read once is in the page cache, so the consumer never goes back.
//!
//! Everyone else asks again a millisecond after each answer, so that the disk has to write little.
//! A server that stalls is asked less often meanwhile, which is in its favour.
//!
//! `underpass log` is started as it is shipped: it flushes what `acks=1` has written as well. Kafka
//! flushes where the topic has `flush.messages=1`, which is the one for durable answers.
//!
//! Source: `underpass_testkit::disk` for the throttle (block-I/O cgroup), root only.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, park_timeout};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use underpass_testkit::disk::{Disk, FileSystem};
use underpass_testkit::log::client::{self, Body, Client, Fetch};
use underpass_testkit::wait;

use super::super::report::{Better, Quantity, Report};
use super::super::stats::quantile;
use super::super::{Run, turns};
use super::client::Load;
use super::frames::{self, batch};
use super::server::{Peer, Promise, Running};
use super::{Options, case};

const IDLE_P50: Quantity = Quantity { name: "idle p50 us", better: Better::Neither, decimals: 0 };
const IDLE_P99: Quantity = Quantity { name: "idle p99 us", better: Better::Neither, decimals: 0 };
const P50: Quantity = Quantity { name: "p50 us", better: Better::Neither, decimals: 0 };
const P99: Quantity = Quantity { name: "p99 us", better: Better::Less, decimals: 0 };
const TIMES: Quantity = Quantity { name: "p99/idle", better: Better::Less, decimals: 2 };
const FLOW: Quantity = Quantity { name: "cold MiB/s", better: Better::More, decimals: 1 };

const COLUMNS: [Quantity; 6] = [IDLE_P50, IDLE_P99, P50, P99, TIMES, FLOW];

const BACKLOG: &str = "backlog";
const HOT: &str = "hot";
const HOT_BYTES: u64 = 16 << 20;

/// What is in both: batches of this many records of 1,000 bytes.
const RECORDS: usize = 100;

const COLD_FETCH_BYTES: i32 = 1 << 20;
const HOT_FETCH_BYTES: i32 = 128 << 10;

/// What a disk has room for other than the backlog.
const ROOM_BYTES: u64 = 4 << 30;

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(1);

/// What others do while the consumer reads.
struct Other {
    name: &'static str,
    title: &'static str,
    connections: usize,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    /// Batches of this many records of 100 bytes.
    Produce(usize, Promise),
    Fetch,
}

const OTHERS: [Other; 4] = [
    Other {
        name: "lone",
        title: "1 x 100 B, acks=1, 1 connection",
        connections: 1,
        what: What::Produce(1, Promise::Written),
    },
    Other {
        name: "100x100",
        title: "100 x 100 B, acks=1, 4 connections",
        connections: 4,
        what: What::Produce(100, Promise::Written),
    },
    Other {
        name: "durable",
        title: "1 x 100 B, durable, 1 connection",
        connections: 1,
        what: What::Produce(1, Promise::Durable),
    },
    Other {
        name: "hot",
        title: "fetch of 100 KB in memory, 1 connection",
        connections: 1,
        what: What::Fetch,
    },
];

/// A server with its backlog on its disk.
struct Site {
    server: Running,
    disk: Disk,
    consumer: Consumer,
}

/// Where the consumer is in the backlog.
struct Consumer {
    address: SocketAddr,
    offset: i64,
    batch_bytes: usize,
}

/// Runs the part.
pub(super) fn run(options: &Options, peers: &[Peer], run: &mut Run) -> Result<()> {
    has_room(options, peers.len() as u64)?;
    let start = |peer: &Peer| {
        Site::start(peer, options).with_context(|| format!("the backlog of {}", peer.name()))
    };
    let mut sites = peers.iter().map(start).collect::<Result<Vec<_>>>()?;
    // What is still to be written would keep the disk under the images busy.
    rustix::fs::sync();
    for other in OTHERS.iter().filter(|other| options.names(other.name)) {
        for round in 0..run.rounds {
            let order: Vec<usize> = (0..sites.len()).collect();
            for &at in turns(&order, round) {
                let site = &mut sites[at];
                let who = site.server.name;
                site.measure(other, options, run)
                    .with_context(|| format!("{who}, {}", other.name))?;
            }
        }
        let name = other.case();
        let rate = options.cold_rate;
        let title = format!("{}; cold: {rate} MiB/s", other.title);
        run.report.table(&name, &title, &COLUMNS);
    }
    sites.into_iter().try_for_each(Site::stop)
}

fn has_room(options: &Options, disks: u64) -> Result<()> {
    let dir = std::env::temp_dir();
    let there = rustix::fs::statvfs(&dir)?;
    let (there, wanted) =
        (there.f_bavail * there.f_frsize, disks * (options.backlog() + ROOM_BYTES));
    let (there, wanted) = (there >> 20, wanted >> 20);
    ensure!(there > wanted, "{} has {there} MiB, and {wanted} are needed", dir.display());
    Ok(())
}

impl Site {
    fn start(peer: &Peer, options: &Options) -> Result<Self> {
        let mut disk = Disk::new(FileSystem::Ext4, options.backlog() + ROOM_BYTES)
            .map_err(|missing| anyhow!("{}", missing.why()))?;
        // Before the server starts: with version 2 of cgroups it is so for those who start later.
        disk.throttle_reads(options.cold_rate << 20).map_err(|m| anyhow!("{}", m.why()))?;
        let server = peer.start(tempfile::tempdir_in(disk.path())?, Promise::Durable)?;
        let batch = batch(RECORDS, 1000);
        for (topic, bytes) in [(BACKLOG, options.backlog()), (HOT, HOT_BYTES)] {
            let mut asking = frames::connect(server.address())?;
            frames::create(&mut asking, topic, 1, &[])?;
            fill(&server, topic, &batch, bytes / batch.len() as u64)?;
        }
        for path in case::segments(&server, BACKLOG)? {
            Disk::evict(&File::open(path)?)?;
        }
        let consumer = Consumer { address: server.address(), offset: 0, batch_bytes: batch.len() };
        Ok(Self { server, disk, consumer })
    }

    /// Measures it alone, then with the consumer.
    fn measure(&mut self, other: &Other, options: &Options, run: &mut Run) -> Result<()> {
        let name = self.server.name;
        for path in case::segments(&self.server, HOT)? {
            run.warm(&path, name)?;
        }
        let topic = other.prepare(&self.server)?;
        let ask = |time| other.ask(self.server.address(), topic, time);
        ask(options.warm_time())?;
        let idle = ask(options.time())?;
        let (busy, flow) = self.consumer.with(options.cold_rate, || ask(options.time()))?;
        if topic != HOT {
            frames::delete(&mut frames::connect(self.server.address())?, topic)?;
        }
        other.sample(&mut run.report, name, [&idle, &busy], flow);
        Ok(())
    }

    /// A server that waits for the disk cannot stop before it has what it wants.
    fn stop(mut self) -> Result<()> {
        self.disk.release_reads();
        self.server.stop().map(drop)
    }
}

fn fill(server: &Running, topic: &str, batch: &[u8], requests: u64) -> Result<()> {
    let load = Load {
        address: server.address(),
        connections: 4,
        request: frames::produce(topic, batch, 1),
        offsets: (1, 1),
        answer_bytes: 0,
        requests_max: requests,
    };
    let filled = super::client::Client::new(load)?.run(Duration::from_secs(1200))?;
    ensure!(filled.answers == requests, "filling {topic} took too long");
    Ok(())
}

impl Other {
    fn case(&self) -> String {
        format!("with cold {}", self.name)
    }

    /// The topic that is asked for: a new one to append to.
    fn prepare(&self, server: &Running) -> Result<&'static str> {
        let What::Produce(_, promise) = self.what else { return Ok(HOT) };
        let is_flushed = promise == Promise::Durable && server.is_kafka();
        let config: &[_] = if is_flushed { &[("flush.messages", "1")] } else { &[] };
        let is_new = frames::create(&mut frames::connect(server.address())?, self.name, 1, config)?;
        ensure!(is_new, "the topic {} is there already", self.name);
        Ok(self.name)
    }

    /// Asks for some time on every connection; how long the answers took, in nanoseconds, sorted.
    fn ask(&self, address: SocketAddr, topic: &str, time: Duration) -> Result<Vec<f64>> {
        let mut all = thread::scope(|scope| {
            let ask = |_| scope.spawn(|| self.ask_alone(address, topic, time));
            let asking: Vec<_> = (0..self.connections).map(ask).collect();
            let joined =
                asking.into_iter().map(|one| one.join().map_err(|_| anyhow!("a panic"))?);
            joined.collect::<Result<Vec<_>>>()
        })?
        .concat();
        all.sort_by(f64::total_cmp);
        Ok(all)
    }

    fn ask_alone(&self, address: SocketAddr, topic: &str, time: Duration) -> Result<Vec<f64>> {
        let (mut client, mut times, start) =
            (frames::connect(address)?, Vec::new(), Instant::now());
        let produced = match self.what {
            What::Produce(records, promise) => {
                let acks = if promise == Promise::Durable { -1 } else { 1 };
                Some(client::produce(topic, 0, acks, &batch(records, 100)))
            }
            What::Fetch => None,
        };
        let mut nth = 0;
        while start.elapsed() < time {
            let asked = Instant::now();
            match &produced {
                Some(body) => produce(&mut client, body)?,
                None => fetch_hot(&mut client, nth)?,
            }
            times.push(asked.elapsed().as_secs_f64() * 1e9);
            nth += 1;
            park_timeout(PAUSE);
        }
        Ok(times)
    }

    fn sample(&self, report: &mut Report, who: &str, [idle, busy]: [&[f64]; 2], flow: f64) {
        let case = self.case();
        let [idle_p99, busy_p99] = [idle, busy].map(|times| quantile(times, 0.99));
        report.sample(&case, who, IDLE_P50, quantile(idle, 0.5) / 1e3);
        report.sample(&case, who, IDLE_P99, idle_p99 / 1e3);
        report.sample(&case, who, P50, quantile(busy, 0.5) / 1e3);
        report.sample(&case, who, P99, busy_p99 / 1e3);
        report.sample(&case, who, TIMES, busy_p99 / idle_p99);
        report.sample(&case, who, FLOW, flow);
    }
}

fn produce(client: &mut Client, body: &Body) -> Result<()> {
    client.send(0, 7, body)?;
    let error = client.produced()?.error;
    ensure!(error == 0, "a produce request is answered with error {error}");
    Ok(())
}

/// One batch and what of the next ones there is room for, now from here and now from there.
fn fetch_hot(client: &mut Client, nth: i64) -> Result<()> {
    let last = i64::try_from(HOT_BYTES)? / (1100 * i64::try_from(RECORDS)?);
    let offset = nth * 37 % last * i64::try_from(RECORDS)?;
    let fetched = client.fetch(&Fetch { offset, ..frames::first(HOT, 500, HOT_FETCH_BYTES) })?;
    let (error, bytes) = (fetched.error, fetched.records.len());
    ensure!(error == 0 && bytes > 100 * RECORDS, "{HOT} at {offset}: error {error}, {bytes} bytes");
    Ok(())
}

impl Consumer {
    /// What `other` gives while the backlog is read on, and at how many MiB/s it was read.
    fn with<T>(&mut self, rate: u64, other: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
        let (bytes, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        let (done, flow) = thread::scope(|scope| {
            let reading = scope.spawn(|| self.read(&bytes, &is_over));
            let is_under_way = || {
                let has_come = bytes.load(Ordering::Relaxed) > 0;
                (has_come || reading.is_finished()).then_some(())
            };
            wait::until(Duration::from_secs(60), is_under_way).context("nothing cold comes")?;
            let (start, before) = (Instant::now(), bytes.load(Ordering::Relaxed));
            let done = other();
            let (elapsed, came) = (start.elapsed(), bytes.load(Ordering::Relaxed) - before);
            is_over.store(true, Ordering::Relaxed);
            reading.join().map_err(|_| anyhow!("the consumer panicked"))??;
            anyhow::Ok((done?, is_cold(came, elapsed, rate)?))
        })?;
        Ok((done, flow))
    }

    /// Reads on until it is over.
    fn read(&mut self, bytes: &AtomicU64, is_over: &AtomicBool) -> Result<()> {
        let mut client = frames::connect(self.address)?;
        while !is_over.load(Ordering::Relaxed) {
            let offset = self.offset;
            let fetch = Fetch { offset, ..frames::first(BACKLOG, 500, COLD_FETCH_BYTES) };
            let fetched = client.fetch(&fetch)?;
            // Kafka cuts the last one where there is no room for all of it.
            let batches = fetched.records.len() / self.batch_bytes;
            ensure!(fetched.error == 0, "{BACKLOG} at {offset}: error {}", fetched.error);
            ensure!(batches > 0, "the backlog is too short: it was read up to {offset}");
            bytes.fetch_add(fetched.records.len() as u64, Ordering::Relaxed);
            self.offset += i64::try_from(batches * RECORDS)?;
        }
        Ok(())
    }
}

/// MiB a second, which what is in memory would exceed by far. A fetch that began before counts
/// whole, and a few pages are never evicted.
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes")]
fn is_cold(came: u64, elapsed: Duration, rate: u64) -> Result<f64> {
    let (came, rate) = (came as f64 / f64::from(1 << 20), rate as f64);
    let (flow, expected) = (came / elapsed.as_secs_f64(), rate * elapsed.as_secs_f64());
    ensure!(came <= 1.5 * expected + 8.0, "the backlog was not cold: {flow:.0} MiB/s");
    Ok(flow)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_that_comes_faster_than_the_disk_can_is_not_cold() {
        let second = Duration::from_secs(1);
        assert!((is_cold(20 << 20, second, 20).unwrap() - 20.0).abs() < 1e-9);
        is_cold(40 << 20, second, 20).unwrap_err();
        is_cold(3 << 20, second / 10, 20).unwrap();
    }
}
