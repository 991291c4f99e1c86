//! How long clients may take for what, and how much they may send for it.

use std::num::NonZeroU64;
use std::time::Duration;

use clap::Args;
use underpass_daemon::FOREVER;
use underpass_serve::Limits;

use crate::values::{OrOff, duration, duration_or_off, size};

/// The least and the most that a head may be limited to: hyper reads no more.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 1 << 10..=256 << 10;

/// The flags about what clients are held to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitsArguments {
    /// How long the head of a request may take, from its first byte; it is a 408 after that.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    header_timeout: Duration,

    /// How long a connection may be idle before it is closed, or 'off' for no limit.
    #[arg(long, value_name = "TIME", default_value = "75s", value_parser = duration_or_off)]
    idle_timeout: OrOff,

    /// How long a client may take not a byte of its response before it is reset, or 'off'.
    ///
    /// What counts is what its kernel has acknowledged, which it does in steps of up to 95 KB: a
    /// program that reads less than 1 KB a second may seem to take nothing for a minute and a
    /// half.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration_or_off)]
    send_timeout: OrOff,

    /// Reset a client that takes fewer bytes a second of its response.
    ///
    /// Measured over 30 s in which there was always something for it to take. Not less than 10KiB
    /// is sensible, since kernels acknowledge in steps.
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    min_rate: Option<NonZeroU64>,

    /// The largest head of a request, from 1KiB to 256KiB; a larger one is a 431 or 414.
    #[arg(long, value_name = "BYTES", default_value = "32KiB", value_parser = header_bytes)]
    max_header_size: usize,
}

impl LimitsArguments {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            header_time: self.header_timeout.min(FOREVER),
            header_bytes_max: self.max_header_size,
            idle_time: self.idle_timeout.0.unwrap_or(FOREVER).min(FOREVER),
            send_time: self.send_timeout.0.unwrap_or(FOREVER).min(FOREVER),
            rate_min: self.min_rate,
        }
    }
}

fn rate(text: &str) -> Result<NonZeroU64, String> {
    let wanted = "give bytes a second, such as 20000 or 20KiB";
    size(text).ok().and_then(NonZeroU64::new).ok_or_else(|| wanted.into())
}

fn header_bytes(text: &str) -> Result<usize, String> {
    let bytes = size(text).ok().filter(|bytes| HEADER_BYTES.contains(bytes));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "give a size from 1KiB to 256KiB".into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn limits(words: &[&str]) -> Result<Limits, String> {
        let words = [&["underpass", "serve"], words].concat();
        let parsed = Arguments::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Serve(wanted) = parsed.command else { panic!("the command is serve") };
        Ok(wanted.0.limits.limits())
    }

    #[test]
    fn what_is_not_limited_otherwise_is_the_default() {
        assert_eq!(limits(&[]), Ok(Limits::default()));
        let off = ["--idle-timeout=off", "--send-timeout=off", "--min-rate=20KiB"];
        let wanted = Limits {
            idle_time: FOREVER,
            send_time: FOREVER,
            rate_min: NonZeroU64::new(20 << 10),
            ..Limits::default()
        };
        assert_eq!(limits(&off), Ok(wanted));
        let small = ["--header-timeout=1s", "--max-header-size=1KiB"];
        let header_time = Duration::from_secs(1);
        let wanted = Limits { header_time, header_bytes_max: 1024, ..Limits::default() };
        assert_eq!(limits(&small), Ok(wanted));
        for wrong in ["--header-timeout=off", "--max-header-size=1023", "--max-header-size=257KiB"]
        {
            assert!(limits(&[wrong]).is_err(), "{wrong}");
        }
        assert!(limits(&["--min-rate=0"]).unwrap_err().contains("give bytes a second"));
    }
}
