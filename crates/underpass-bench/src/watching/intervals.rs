//! `bench watching --intervals N`: how often the truth is within the interval that a watch gives.
//!
//! A watch within its budget rests, and what it did not see it tells as an interval. Each run
//! mixes a few large files with many small ones, one kind by sendfile and the other by writev, by
//! numbers drawn from a seed: the kinds, how many clients, how large, how long between downloads.
//! The truth is what the clients were given. The watch begins before the load and ends after it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use underpass_testkit::server::Server;

use super::Watcher;
use crate::load::{Asking, Client, Load, Room, verify};
use crate::peers::Peer;
use crate::report::{Better, Quantity};
use crate::{Run, cpu, files};

const TRUTH: Quantity = Quantity { name: "truth %", better: Better::Neither, decimals: 1 };
const LOW: Quantity = Quantity { name: "low %", better: Better::Neither, decimals: 1 };
const HIGH: Quantity = Quantity { name: "high %", better: Better::Neither, decimals: 1 };
const LOOKED: Quantity = Quantity { name: "looked %", better: Better::Neither, decimals: 1 };
const HIT: Quantity = Quantity { name: "within", better: Better::More, decimals: 2 };
const WIDTH: Quantity = Quantity { name: "points wide", better: Better::Less, decimals: 1 };

const SMALL_BYTES: u64 = 4 << 10;
const LARGE_BYTES: [u64; 3] = [16 << 20, 64 << 20, 256 << 20];

/// Under the root, where nginx has `sendfile off`.
const COPIED: &str = "copied/";

/// What one run mixes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Mix {
    large_bytes: u64,
    is_large_copied: bool,
    clients: usize,
    /// The mean time between two downloads.
    gap: Duration,
}

/// xorshift64: the same numbers from the same seed.
#[derive(Debug)]
struct Numbers(u64);

impl Numbers {
    const fn new(seed: u64) -> Self {
        // Nothing follows zero but zero.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    const fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between 0 and 1, neither of them.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are an f64's")]
    fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    fn mix(&mut self) -> Mix {
        let large_bytes = LARGE_BYTES[usize::try_from(self.next() % 3).unwrap_or_default()];
        let clients = 1 + usize::try_from(self.next() % 16).unwrap_or_default();
        let gap = Duration::from_secs_f64(0.05 + self.share() * 0.6);
        Mix { large_bytes, is_large_copied: self.next().is_multiple_of(2), clients, gap }
    }
}

/// Runs it; `length` is that of each load.
pub(super) fn run(count: u32, seed: u64, length: Duration, run: &mut Run) -> Result<()> {
    let dir = files::scratch()?;
    let root = dir.path().join("root");
    std::fs::create_dir_all(root.join(COPIED))?;
    let server = Peer::Nginx.start(&root, dir.path())?;
    prepare(&root, &server)?;
    cpu::pin_here(cpu::ASKING)?;
    let mut numbers = Numbers::new(seed);
    let mut within = 0;
    for nth in 1..=count {
        let mix = numbers.mix();
        let watcher = Watcher::attach(&server, &[])?;
        let given = mix.load(&server, length, &mut numbers)?;
        let seen = watcher.detach()?;
        let truth = given.by_reference_percent();
        let (low, high) = seen.interval.context("a watch gave no interval")?;
        let is_within = (low..=high).contains(&truth);
        within += u32::from(is_within);
        run.report.line(&format!(
            "{nth}: {mix:?}: truth {truth:.1} %, told {low:.1} to {high:.1} %, looked {:.0} %{}",
            seen.looked,
            if is_within { "" } else { ", NOT WITHIN" }
        ));
        for (quantity, value) in [
            (TRUTH, truth),
            (LOW, low),
            (HIGH, high),
            (LOOKED, seen.looked),
            (HIT, f64::from(u8::from(is_within))),
            (WIDTH, high - low),
        ] {
            run.report.sample("intervals", "mixed load", quantity, value);
        }
    }
    run.report.line(&format!("within their interval: {within} of {count}, seed {seed}"));
    run.report.table("intervals", "a mixed load, watched", &[WIDTH, LOOKED]);
    Ok(())
}

/// Writes the files, and compares what the server sends with them.
fn prepare(root: &Path, server: &Server) -> Result<()> {
    for len_bytes in LARGE_BYTES.into_iter().chain([SMALL_BYTES]) {
        for directory in ["", COPIED] {
            let name = format!("{directory}{len_bytes}");
            let (path, _) = files::patterned(root, &name, len_bytes)?;
            verify(server.address(), &format!("/{name}"), &path)?;
            files::warm(&path)?;
        }
    }
    Ok(())
}

/// Bytes of bodies that clients were given.
#[derive(Debug, Clone, Copy, Default)]
struct Given {
    by_reference: u64,
    copied: u64,
}

impl Given {
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes")]
    fn by_reference_percent(self) -> f64 {
        self.by_reference as f64 * 100.0 / (self.by_reference + self.copied) as f64
    }
}

impl Mix {
    /// Asks for `length`: many clients for the small file, one for the large, now and then.
    fn load(&self, server: &Server, length: Duration, numbers: &mut Numbers) -> Result<Given> {
        let [large, small] =
            [(self.large_bytes, self.is_large_copied), (SMALL_BYTES, !self.is_large_copied)].map(
                |(bytes, is_copied)| format!("/{}{bytes}", if is_copied { COPIED } else { "" }),
            );
        let address = server.address();
        let (small_bytes, large_bytes) = std::thread::scope(|scope| -> Result<(u64, u64)> {
            let many = scope.spawn(|| -> Result<u64> {
                let connections = self.clients;
                let load = Load { address, path: &small, connections, body_bytes: SMALL_BYTES };
                let outcome = Client::new(load)?.run(length)?;
                ensure!(outcome.failures == 0, "the small file: {outcome:?}");
                Ok((outcome.responses + outcome.late) * SMALL_BYTES)
            });
            let few =
                self.download(Asking::new(address, &large, self.large_bytes)?, length, numbers)?;
            let many = many.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
            Ok((many, few))
        })?;
        let [by_reference, copied] = if self.is_large_copied {
            [small_bytes, large_bytes]
        } else {
            [large_bytes, small_bytes]
        };
        Ok(Given { by_reference, copied })
    }

    /// Downloads with times between them as a Poisson process has; how many bytes that were.
    fn download(&self, mut asking: Asking, length: Duration, numbers: &mut Numbers) -> Result<u64> {
        let (start, mut room, mut bytes) = (Instant::now(), Room::new(), 0);
        loop {
            let gap = self.gap.mul_f64(-numbers.share().ln());
            if start.elapsed() + gap >= length {
                return Ok(bytes);
            }
            pause(gap);
            asking.ask_and_wait(&mut room)?;
            bytes += self.large_bytes;
        }
    }
}

/// Lets time pass: a client that does not ask.
fn pause(length: Duration) {
    let end = Instant::now() + length;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_mixes_and_all_kinds_of_them() {
        let drawn = |seed| {
            let mut numbers = Numbers::new(seed);
            (0..40).map(|_| numbers.mix()).collect::<Vec<_>>()
        };
        assert_eq!(drawn(15), drawn(15));
        assert_ne!(drawn(15), drawn(16));
        for large_bytes in LARGE_BYTES {
            for is_large_copied in [false, true] {
                let is_one = |mix: &Mix| {
                    (mix.large_bytes, mix.is_large_copied) == (large_bytes, is_large_copied)
                };
                assert!(drawn(15).iter().any(is_one), "{large_bytes} {is_large_copied}");
            }
        }
    }

    #[test]
    fn the_truth_is_the_share_of_bodies_that_left_by_reference() {
        let given = Given { by_reference: 30, copied: 10 };
        assert!((given.by_reference_percent() - 75.0).abs() < 1e-9);
    }
}
