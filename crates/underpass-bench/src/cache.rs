//! `bench cache`: what an origin is asked for by a cache in front of it, and how long clients wait.
//!
//! The origin is in this process and sends no more than it is allowed to, with all its connections
//! together; it counts its requests and the bytes of content. Every body is compared with what the
//! origin has, byte for byte.
//!
//! `--part hits` is another question: what an answer from a full cache costs next to the same file
//! in a directory, by the same program. `--part herd` is many clients of one object at once.

mod fetch;
mod herd;
mod hits;
mod peers;
mod row;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use underpass_testkit::origin::{Object, Origin};
use underpass_testkit::wait;

use super::report::{Better, Quantity};
use super::{Run, cpu, serve};

const REQUESTS: Quantity = Quantity { name: "requests", better: Better::Neither, decimals: 0 };
const MIB: Quantity = Quantity { name: "origin MiB", better: Better::Neither, decimals: 2 };

/// An origin is quiet when it has sent nothing for this long.
const QUIET: Duration = Duration::from_millis(400);

/// The parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Clients that come one after the other, and ranges of what is not there.
    Cold,
    /// What is there, next to a directory.
    Hits,
    /// Clients that come at once.
    Herd,
}

/// What is asked for.
#[derive(Debug, Clone, Args)]
pub(super) struct Options {
    /// One part.
    #[arg(long, value_enum, default_value = "cold")]
    part: Part,
    /// Of `cold` and `herd`: how many MiB the origin sends a second.
    #[arg(long, default_value_t = 8)]
    origin_mib: u64,
    /// Of `cold` and `herd`: the size of the object in MiB [default: 64, and 16 for `herd`].
    #[arg(long)]
    object_mib: Option<u64>,
    /// Of `cold`: how long after another a client comes, in ms.
    #[arg(long, default_value_t = 500)]
    apart_ms: u64,
    /// Of `herd`: how many clients.
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Of `hits`: how much is asked for.
    #[command(flatten)]
    size: serve::Size,
}

impl Options {
    /// In a smoke run, just enough to see that everything still works.
    pub(super) fn fitting(self, is_smoke: bool) -> Self {
        let size = self.size.fitting(is_smoke);
        if !is_smoke {
            return Self { size, ..self };
        }
        let (object_mib, apart_ms, clients) = (Some(2), 20, 20);
        Self { object_mib, apart_ms, clients, origin_mib: 32, size, ..self }
    }

    fn object_bytes(&self) -> u64 {
        let usual = if self.part == Part::Herd { 16 } else { 64 };
        self.object_mib.unwrap_or(usual) << 20
    }
}

/// Runs the bench.
pub(super) fn run(options: &Options, run: &mut Run) -> Result<()> {
    cpu::pin_here(cpu::ASKING)?;
    match options.part {
        Part::Cold => row::run(options, run),
        Part::Hits => hits::run(options.size, run),
        Part::Herd => herd::run(options, run),
    }
}

/// An origin that is limited as the options say.
fn limited(options: &Options) -> Result<Origin> {
    let origin = Origin::start()?;
    origin.limit(Some(options.origin_mib << 20));
    Ok(origin)
}

/// An object that may be kept for the whole of a run.
fn put(origin: &Origin, target: &str, len: u64) -> Arc<Object> {
    origin.put(target, Object::new(len).cache_control("max-age=86400"))
}

/// What an origin was asked for from here on.
struct Asked {
    requests: usize,
    bytes: u64,
}

impl Asked {
    fn before(origin: &Origin) -> Self {
        Self { requests: origin.request_count(), bytes: origin.content_bytes() }
    }

    /// How many requests, and how many bytes of content it sent, when it sends no more.
    fn until_quiet(self, origin: &Origin) -> Result<(u64, u64)> {
        let (mut last, mut since) = (origin.content_bytes(), Instant::now());
        wait::until(Duration::from_secs(60), || {
            let now = origin.content_bytes();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() >= QUIET).then_some(())
        })
        .context("the origin sends all the time")?;
        Ok(((origin.request_count() - self.requests) as u64, last - self.bytes))
    }
}

#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
