//! Values of flags as they are typed.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use underpass_daemon::host_port::HostPort;

/// Threads beyond this add memory and nothing else.
const WORKERS_MAX: usize = 1024;

pub(crate) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    let wanted = "give ADDRESS:PORT, such as 127.0.0.1:8080 or [::1]:8080, or a port";
    let host: HostPort = text.parse().map_err(|error| format!("{error}; {wanted}"))?;
    let found = host.look_up().map_err(|error| format!("{error}; {wanted}"))?;
    found.first().copied().ok_or_else(|| format!("the name has no address; {wanted}"))
}

pub(crate) fn workers(text: &str) -> Result<NonZeroUsize, String> {
    let count = text.parse().ok().filter(|count: &NonZeroUsize| count.get() <= WORKERS_MAX);
    count.ok_or_else(|| format!("give a number from 1 to {WORKERS_MAX}"))
}

/// A time, or none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrOff(pub(crate) Option<Duration>);

/// A time above nothing, with its unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wanted = "give a time such as 500ms, 5s or 10m";
    let time = humantime::parse_duration(text).map_err(|error| format!("{error}; {wanted}"))?;
    if time.is_zero() { Err(wanted.into()) } else { Ok(time) }
}

pub(crate) fn duration_or_off(text: &str) -> Result<OrOff, String> {
    match text {
        "off" => Ok(OrOff(None)),
        time => duration(time).map(|time| OrOff(Some(time))),
    }
}

/// `4096`, `64KiB`, `1MiB`, `2GiB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..) {
        Some("" | "B") => Some(1_u64),
        Some("K" | "KiB") => Some(1 << 10),
        Some("M" | "MiB") => Some(1 << 20),
        Some("G" | "GiB") => Some(1 << 30),
        Some(_) | None => None,
    };
    let number = digits.parse::<u64>().ok();
    let bytes = number.zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    let is_file_size = |bytes: &u64| *bytes > 0 && i64::try_from(*bytes).is_ok();
    bytes.filter(is_file_size).ok_or_else(|| {
        "give a number of bytes, at least 1, such as 4096, 64KiB, 1MiB or 2GiB".to_owned()
    })
}

/// Processors that this process may use.
pub(crate) fn processors() -> NonZeroUsize {
    available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("3M"), Ok(3_145_728));
        for text in ["", "0", "-1", "1.5MiB", "MiB", "1TB", "9999999999GiB", "12 KiB"] {
            assert!(size(text).unwrap_err().contains("64KiB, 1MiB or 2GiB"), "{text}");
        }
    }

    #[test]
    fn an_address_may_be_a_port_alone() {
        for (text, address_text) in [
            ("8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
        ] {
            assert_eq!(address(text).unwrap(), address_text.parse().unwrap());
        }
        for text in ["", "65536", "127.0.0.1", "1.2.3.4:65536", "::1:x", "-1"] {
            assert!(address(text).unwrap_err().contains("give ADDRESS:PORT"), "{text}");
        }
    }

    #[test]
    fn workers_are_counted_from_1_to_1024() {
        assert_eq!(workers("1").unwrap().get(), 1);
        assert_eq!(workers("1024").unwrap().get(), 1024);
        for text in ["0", "1025", "-1", "two", "", "99999999999999999999"] {
            assert_eq!(workers(text).unwrap_err(), "give a number from 1 to 1024", "{text}");
        }
    }

    #[test]
    fn a_time_has_a_unit_and_is_not_zero() {
        let time = |text| duration_or_off(text).map(|time| time.0);
        assert_eq!(time("off"), Ok(None));
        assert_eq!(time("500ms"), Ok(Some(Duration::from_millis(500))));
        assert_eq!(time("1m 30s"), Ok(Some(Duration::from_secs(90))));
        for text in ["", "5", "0s", "-1s", "fast"] {
            assert!(time(text).unwrap_err().contains("give a time such as 500ms"), "{text}");
        }
    }
}
