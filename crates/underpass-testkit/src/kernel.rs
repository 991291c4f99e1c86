//! Which kernel this is, for tests of what only later ones have; and how fast the machine is.
//!
//! Source: uname(2); /proc/sys/kernel/osrelease, proc(5).

use std::io;

use crate::skip::Missing;

/// That the running kernel is `major.minor` or later.
///
/// # Errors
///
/// [`Missing`] if it is older, or does not say what it is.
pub fn at_least(major: u32, minor: u32) -> Result<(), Missing> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let is = release.as_deref().map(version).map_err(io::Error::kind);
    match is {
        Ok(Some(is)) if is >= (major, minor) => Ok(()),
        Ok(_) | Err(_) => Err(Missing::new(format!("a kernel before {major}.{minor}: {is:?}"))),
    }
}

/// Set where each instruction is translated, and so costs some ten times as much.
pub const SLOW_VARIABLE: &str = "UNDERPASS_SLOW_MACHINE";

/// Whether tests should do the same with less: [`SLOW_VARIABLE`] is set.
#[must_use]
pub fn is_slow() -> bool {
    std::env::var_os(SLOW_VARIABLE).is_some()
}

/// `6.18.44-generic` as (6, 18).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number_and_not_by_digit() {
        assert_eq!(version("6.18.44-fc-v657\n"), Some((6, 18)));
        assert_eq!(version("5.10-rc3"), Some((5, 10)));
        assert_eq!(version("unknown"), None);
        assert!(at_least(2, 6).is_ok() && at_least(4_000_000, 0).is_err());
        assert!(version("6.2") < version("6.18"));
    }
}
