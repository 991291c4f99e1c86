//! What is asked, and what is counted of it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::cpu::{Meter, Spent};
use super::super::report::{BUSY, Better, FLOW, PRICE, Quantity, Report};
use super::super::stats::quantile;
use super::client::{Client, Load, Outcome};
use super::frames::{self, batch};
use super::server::{Promise, Running};

const RATE: Quantity = Quantity { name: "req/s", better: Better::More, decimals: 0 };
const COST: Quantity = Quantity { name: "CPU us/req", better: Better::Less, decimals: 2 };
const RECORDS: Quantity = Quantity { name: "records/s", better: Better::More, decimals: 0 };
const P50: Quantity = Quantity { name: "p50 us", better: Better::Less, decimals: 0 };
const P99: Quantity = Quantity { name: "p99 us", better: Better::Less, decimals: 0 };

/// What one run may append: the page cache has room for several times as much.
const APPENDED_MAX: u64 = 1 << 30;

/// What came of a measurement.
#[derive(Debug)]
pub(super) struct Measured {
    outcome: Outcome,
    spent: Spent,
}

/// Fetches of one size from one topic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub name: &'static str,
    pub title: &'static str,
    topic: &'static str,
    connections: usize,
    max_bytes: i32,
    /// Records of 100 bytes in each batch.
    records: usize,
    /// Answers are small: requests are counted, not bytes.
    is_small: bool,
}

pub(super) const FETCHES: [Fetch; 4] = [
    Fetch {
        name: "fetch 64k",
        title: "fetch, 64 KiB, 10 connections",
        topic: "hundred",
        connections: 10,
        max_bytes: 64 << 10,
        records: 100,
        is_small: false,
    },
    Fetch {
        name: "fetch 1m",
        title: "fetch, 1 MiB, 10 connections",
        topic: "hundred",
        connections: 10,
        max_bytes: 1 << 20,
        records: 100,
        is_small: false,
    },
    Fetch {
        name: "fetch 10m",
        title: "fetch, 10 MiB, 10 connections",
        topic: "hundred",
        connections: 10,
        max_bytes: 10 << 20,
        records: 100,
        is_small: false,
    },
    Fetch {
        name: "fetch small",
        title: "fetch, 1 record, 32 connections",
        topic: "one",
        connections: 32,
        max_bytes: 1,
        records: 1,
        is_small: true,
    },
];

impl Fetch {
    /// How many batches are in the topic: of the small ones a thousandth is enough.
    fn batches(&self, bytes: u64) -> u64 {
        if self.is_small { 20_000 } else { bytes / self.batch().1 }
    }

    /// Fills the topic unless an earlier case has, and compares the first batch with what was sent.
    pub(super) fn fill(&self, servers: &[Running], bytes: u64) -> Result<()> {
        let batch = batch(self.records, 100);
        for server in servers {
            let mut asking = frames::connect(server.address())?;
            if !frames::create(&mut asking, self.topic, 1, &[])? {
                continue;
            }
            let load = Load {
                address: server.address(),
                connections: 4,
                request: frames::produce(self.topic, &batch, 1),
                offsets: (1, 1),
                answer_bytes: 0,
                requests_max: self.batches(bytes),
            };
            let filled = Client::new(load)?.run(Duration::from_secs(600))?;
            ensure!(filled.answers == self.batches(bytes), "{} took too long", server.name);
            let fetched = asking.fetch(&frames::first(self.topic, 500, 1))?;
            let stored = fetched.records.get(..batch.len());
            // The base offset and the leader epoch are the server's.
            let is_same =
                |stored: &[u8]| stored[8..12] == batch[8..12] && stored[16..] == batch[16..];
            ensure!(stored.is_some_and(is_same), "{} returns another batch", server.name);
        }
        Ok(())
    }

    /// The segments that are fetched from.
    pub(super) fn files(&self, server: &Running) -> Result<Vec<PathBuf>> {
        segments(server, self.topic)
    }

    pub(super) fn run(&self, server: &Running, bytes: u64, time: Duration) -> Result<Outcome> {
        self.client(server, bytes)?.run(time)
    }

    pub(super) fn measure(&self, server: &Running, bytes: u64, time: Duration) -> Result<Measured> {
        let mut client = self.client(server, bytes)?;
        client.run(time / 20)?;
        let meter = Meter::start(server.id())?;
        let outcome = client.run(time)?;
        Ok(Measured { outcome, spent: meter.stop()? })
    }

    fn client(&self, server: &Running, bytes: u64) -> Result<Client> {
        Client::new(self.load(server, bytes)?)
    }

    /// Records and bytes of each batch.
    pub(super) fn batch(&self) -> (u64, u64) {
        (self.records as u64, batch(self.records, 100).len() as u64)
    }

    pub(super) fn load(&self, server: &Running, bytes: u64) -> Result<Load> {
        let max = u64::try_from(self.max_bytes)?;
        let records = self.records as u64;
        // Far enough from the end for a full answer.
        let last = self.batches(bytes) - self.batches(max).min(self.batches(bytes) / 2) - 1;
        Ok(Load {
            address: server.address(),
            connections: self.connections,
            request: frames::fetch(self.topic, self.max_bytes),
            offsets: (records, last * records),
            answer_bytes: if self.is_small { 100 } else { usize::try_from(max * 4 / 5)? },
            requests_max: u64::MAX,
        })
    }

    pub(super) fn columns(&self) -> &'static [Quantity] {
        if self.is_small { &[COST, RATE, P50, P99, BUSY] } else { &[PRICE, FLOW, P50, P99, BUSY] }
    }

    pub(super) fn sample(&self, report: &mut Report, who: &str, measured: &Measured) {
        let Measured { outcome, spent } = measured;
        if self.is_small {
            requests(report, self.name, who, measured);
        } else {
            report.moved(self.name, who, outcome.bytes, *spent);
        }
        times(report, self.name, who, measured);
    }
}

/// The segments of partition 0 of a topic.
pub(super) fn segments(server: &Running, topic: &str) -> Result<Vec<PathBuf>> {
    let partition = server.data().join(format!("{topic}-0"));
    let files = std::fs::read_dir(partition)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    Ok(files)
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
fn requests(report: &mut Report, case: &str, who: &str, Measured { outcome, spent }: &Measured) {
    let answers = outcome.answers as f64;
    report.sample(case, who, COST, spent.cpu.as_secs_f64() * 1e6 / answers);
    report.sample(case, who, RATE, answers / outcome.elapsed.as_secs_f64());
}

fn times(report: &mut Report, case: &str, who: &str, Measured { outcome, spent }: &Measured) {
    report.sample(case, who, P50, quantile(&outcome.times, 0.5) / 1e3);
    report.sample(case, who, P99, quantile(&outcome.times, 0.99) / 1e3);
    report.sample(case, who, BUSY, spent.busy());
}

/// Batches of one size to one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Produce {
    pub name: &'static str,
    pub title: &'static str,
    connections: usize,
    records: usize,
    record_bytes: usize,
    /// Measured with durable answers as well.
    pub is_durable_too: bool,
}

pub(super) const PRODUCES: [Produce; 4] = [
    Produce {
        name: "100x100",
        title: "100 x 100 B, 4 connections",
        connections: 4,
        records: 100,
        record_bytes: 100,
        is_durable_too: true,
    },
    Produce {
        name: "1x100",
        title: "1 x 100 B, 32 connections",
        connections: 32,
        records: 1,
        record_bytes: 100,
        is_durable_too: true,
    },
    Produce {
        name: "1000x1000",
        title: "1000 x 1000 B, 4 connections",
        connections: 4,
        records: 1000,
        record_bytes: 1000,
        is_durable_too: false,
    },
    Produce {
        name: "lone",
        title: "1 x 100 B, 1 connection",
        connections: 1,
        records: 1,
        record_bytes: 100,
        is_durable_too: true,
    },
];

impl Produce {
    pub(super) const COLUMNS: [Quantity; 5] = [RECORDS, COST, P50, P99, BUSY];

    pub(super) fn name(&self, promise: Promise) -> String {
        format!("produce {} {}", self.name, promise.words())
    }

    /// Writes to a new topic, which is deleted afterwards.
    pub(super) fn measure(
        &self,
        server: &Running,
        promise: Promise,
        time: Duration,
    ) -> Result<Measured> {
        let mut asking = frames::connect(server.address())?;
        let (acks, config) = match promise {
            Promise::Written => (1, &[][..]),
            Promise::Durable => (-1, &[("flush.messages", "1")][..]),
        };
        let config = if server.is_kafka() { config } else { &[] };
        let is_new = frames::create(&mut asking, self.name, 1, config)?;
        ensure!(is_new, "the topic {} is there already", self.name);
        let measured = self.run(server, acks, time)?;
        frames::delete(&mut asking, self.name)?;
        server.settle(self.name)?;
        Ok(measured)
    }

    /// Writes to the topic, which is there.
    pub(super) fn run(&self, server: &Running, acks: i16, time: Duration) -> Result<Measured> {
        let batch = batch(self.records, self.record_bytes);
        let mut client = Client::new(Load {
            address: server.address(),
            connections: self.connections,
            offsets: (1, 1),
            answer_bytes: 0,
            requests_max: APPENDED_MAX / batch.len() as u64,
            request: frames::produce(self.name, &batch, acks),
        })?;
        let meter = Meter::start(server.id())?;
        let outcome = client.run(time)?;
        Ok(Measured { outcome, spent: meter.stop()? })
    }

    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 requests")]
    pub(super) fn sample(
        &self,
        report: &mut Report,
        who: &str,
        promise: Promise,
        measured: &Measured,
    ) {
        let case = self.name(promise);
        let records = measured.outcome.answers as f64 * self.records as f64;
        let rate = records / measured.outcome.elapsed.as_secs_f64();
        report.sample(&case, who, RECORDS, rate);
        requests(report, &case, who, measured);
        times(report, &case, who, measured);
    }
}
