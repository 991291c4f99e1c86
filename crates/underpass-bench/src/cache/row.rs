//! Eight clients of a cold object, one after the other; the first and the last bytes of others.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::fetch::fetch;
use super::peers::Cache;
use super::{Asked, MIB, Options, REQUESTS, limited, mib, ms, put};
use crate::report::{Better, Quantity, Report};
use crate::{Run, files, turns};
use underpass_testkit::origin::{Object, Origin};

/// How long after its request the first byte came, for the client that waited longest.
const FIRST: Quantity = Quantity { name: "first ms", better: Better::Neither, decimals: 1 };

const CLIENTS: u32 = 8;

/// Ranges of [`RANGE_BYTES`] that are asked of cold objects.
const RANGES: [(&str, &str); 2] = [("first 100", "bytes=0-99"), ("last 100", "bytes=-100")];

const RANGE_BYTES: u64 = 100;

const CASE: &str = "eight clients";

/// Runs this part.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    let (dir, origin) = (files::scratch()?, limited(options)?);
    let peers = [Cache::NginxPlain, Cache::NginxLock, Cache::NginxSlice, Cache::Varnish];
    let peers = run.field(peers, Cache::Underpass, Cache::name)?;
    for round in 0..run.rounds {
        for peer in turns(&peers, round) {
            let server = peer.start(origin.address(), dir.path())?;
            let turn = Turn { who: peer.name(), address: server.address(), origin: &origin };
            turn.one_after_the_other(options, &mut run.report)?;
            for range in RANGES {
                turn.range(options, range, &mut run.report)?;
            }
            server.stop()?;
        }
    }
    let (mib, limit) = (options.object_bytes() >> 20, options.origin_mib);
    let title = format!("{mib} MiB at {limit} MiB/s, {CLIENTS} clients");
    run.report.table(CASE, &title, &[REQUESTS, MIB, FIRST]);
    for (case, range) in RANGES {
        run.report.table(case, &format!("cold {range}"), &[FIRST, REQUESTS, MIB]);
    }
    Ok(())
}

/// One cache that is measured.
struct Turn<'a> {
    who: &'a str,
    address: SocketAddr,
    origin: &'a Origin,
}

impl Turn<'_> {
    fn one_after_the_other(&self, options: &Options, report: &mut Report) -> Result<()> {
        let object = put(self.origin, "/object", options.object_bytes());
        let asked = Asked::before(self.origin);
        let apart = Duration::from_millis(options.apart_ms);
        let start = Instant::now();
        let clients = (0..CLIENTS).map(|nth| {
            let (address, object) = (self.address, object.clone());
            thread::spawn(move || client(address, &object, start + apart * nth))
        });
        let clients: Vec<_> = clients.collect();
        let mut firsts = Vec::new();
        for client in clients {
            let client = client.join().map_err(|_| anyhow!("a client panicked"))?;
            firsts.push(ms(client.map_err(|error| error.context(self.who.to_owned()))?));
        }
        let (requests, bytes) = asked.until_quiet(self.origin)?;
        // The first of them waits for the origin, whatever is in between.
        let longest = firsts.iter().skip(1).copied().fold(0.0, f64::max);
        self.keep(CASE, longest, requests, bytes, report)
    }

    fn range(
        &self,
        options: &Options,
        (case, range): (&str, &str),
        report: &mut Report,
    ) -> Result<()> {
        let target = format!("/{}", case.replace(' ', "-"));
        let len = options.object_bytes();
        let object = put(self.origin, &target, len);
        let asked = Asked::before(self.origin);
        let start = if range.starts_with("bytes=-") { len - RANGE_BYTES } else { 0 };
        let bytes = start..start + RANGE_BYTES;
        let first = fetch(self.address, &target, Some(range), &object, bytes);
        let first = first.map_err(|error| error.context(self.who.to_owned()))?;
        let (requests, bytes) = asked.until_quiet(self.origin)?;
        self.keep(case, ms(first), requests, bytes, report)
    }

    fn keep(
        &self,
        case: &str,
        first_ms: f64,
        requests: u64,
        bytes: u64,
        report: &mut Report,
    ) -> Result<()> {
        report.sample(case, self.who, REQUESTS, f64::from(u32::try_from(requests)?));
        report.sample(case, self.who, MIB, mib(bytes));
        report.sample(case, self.who, FIRST, first_ms);
        Ok(())
    }
}

/// Asks for all of the object when it is time.
fn client(address: SocketAddr, object: &Object, at: Instant) -> Result<Duration> {
    while let Some(early) = at.checked_duration_since(Instant::now()).filter(|it| !it.is_zero()) {
        thread::park_timeout(early);
    }
    fetch(address, "/object", None, object, 0..object.len())
}
