//! What a transfer did: bytes and calls by method, waits, fallbacks, admitted copies.
//!
//! Counted, not estimated. "By reference" here means what was asked of the kernel; where it
//! says that it copied after all (`MSG_ZEROCOPY`), that is counted apart.

use std::fmt;
use std::ops::AddAssign;

use rustix::io::Errno;

use crate::error::NamedErrno;
use crate::method::Method;
use crate::zero_copy::Reaped;

/// The two ends of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Where the bytes come from.
    Source,
    /// Where they go.
    Sink,
}

/// What one method did in a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Bytes the sink accepted.
    pub bytes: u64,
    /// Data-moving system calls, those that failed included.
    pub calls: u64,
}

/// One change of method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fallback {
    /// The method that was given up.
    pub from: Method,
    /// The one that took over.
    pub to: Method,
    /// What the kernel answered; `None` where the kinds of the ends or the stability policy
    /// ruled the method out, or where the answer was a count of 0.
    pub errno: Option<Errno>,
    /// Bytes the sink had accepted by then.
    pub at: u64,
}

/// `sendfile -> copy at 9000: Invalid argument (EINVAL)`.
impl fmt::Display for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, errno, at } = self;
        write!(f, "{from} -> {to} at {at}")?;
        errno.map_or(Ok(()), |errno| write!(f, ": {}", NamedErrno(errno)))
    }
}

/// The account of one transfer. Complete at any time, after an error too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ledger {
    pub(crate) by_method: [Tally; Method::ALL.len()],
    pub(crate) waits: [u64; 2],
    pub(crate) fallbacks: Vec<Fallback>,
    pub(crate) cold: u64,
    pub(crate) zero_copy_done: u64,
    pub(crate) zero_copy_copied: u64,
}

impl Ledger {
    pub(crate) fn book(&mut self, reaped: Reaped) {
        self.zero_copy_done += reaped.done;
        self.zero_copy_copied += reaped.copied;
    }

    /// Bytes the sink accepted.
    #[must_use]
    pub fn moved(&self) -> u64 {
        self.by_method.iter().map(|tally| tally.bytes).sum()
    }

    /// Data-moving system calls.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.by_method.iter().map(|tally| tally.calls).sum()
    }

    /// What one method did.
    #[must_use]
    pub const fn of(&self, method: Method) -> Tally {
        self.by_method[method.index()]
    }

    /// How often the transfer had to wait for one side to be ready.
    #[must_use]
    pub const fn waits(&self, side: Side) -> u64 {
        self.waits[side as usize]
    }

    /// How often a range was not in the page cache and had to be fetched first. Only a driver
    /// that asks for the gate counts here.
    #[must_use]
    pub const fn cold(&self) -> u64 {
        self.cold
    }

    /// Every change of method, in order.
    #[must_use]
    pub fn fallbacks(&self) -> &[Fallback] {
        &self.fallbacks
    }

    /// Bytes of zero-copy sends whose completion has been read.
    #[must_use]
    pub const fn zero_copy_done(&self) -> u64 {
        self.zero_copy_done
    }

    /// Those among them that the kernel says it copied.
    #[must_use]
    pub const fn zero_copy_copied(&self) -> u64 {
        self.zero_copy_copied
    }
}

/// Adds the account of a transfer that followed: its fallbacks are then placed by the bytes of
/// both.
impl AddAssign<&Self> for Ledger {
    fn add_assign(&mut self, next: &Self) {
        let before = self.moved();
        for (tally, more) in self.by_method.iter_mut().zip(&next.by_method) {
            tally.bytes += more.bytes;
            tally.calls += more.calls;
        }
        for (waits, more) in self.waits.iter_mut().zip(&next.waits) {
            *waits += more;
        }
        let placed = next.fallbacks.iter().map(|f| Fallback { at: before + f.at, ..*f });
        self.fallbacks.extend(placed);
        self.cold += next.cold;
        self.zero_copy_done += next.zero_copy_done;
        self.zero_copy_copied += next.zero_copy_copied;
    }
}

/// One line: totals, methods used, waits, fallbacks, admitted copies; parts that are zero are
/// left out.
impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in {} calls", self.moved(), self.calls())?;
        let used = Method::ALL.iter().copied().filter(|&m| self.of(m).calls > 0);
        for (index, method) in used.enumerate() {
            let Tally { bytes, calls } = self.of(method);
            write!(f, "{} {method} {bytes}/{calls}", if index == 0 { ":" } else { "," })?;
        }
        let [source, sink] = self.waits;
        if source + sink > 0 {
            write!(f, "; waited {source} for source, {sink} for sink")?;
        }
        if self.cold > 0 {
            write!(f, "; {} cold", self.cold)?;
        }
        for fallback in &self.fallbacks {
            write!(f, "; {fallback}")?;
        }
        if self.zero_copy_done > 0 {
            let Self { zero_copy_done: done, zero_copy_copied: copied, .. } = self;
            write!(f, "; {copied} of {done} zero-copy bytes were copied")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_happened_and_nothing_else() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.to_string(), "0 bytes in 0 calls");
        ledger.by_method[Method::Sendfile.index()] = Tally { bytes: 9_000, calls: 2 };
        ledger.by_method[Method::Copy.index()] = Tally { bytes: 10, calls: 3 };
        ledger.waits = [0, 4];
        let (from, to) = (Method::Sendfile, Method::Copy);
        ledger.fallbacks = vec![Fallback { from, to, errno: Some(Errno::INVAL), at: 9_000 }];
        assert_eq!(
            ledger.to_string(),
            "9010 bytes in 5 calls: copy 10/3, sendfile 9000/2; waited 0 for source, 4 for sink; \
             sendfile -> copy at 9000: Invalid argument (EINVAL)"
        );
    }

    #[test]
    fn ledgers_of_transfers_in_a_row_add_up() {
        let (from, to) = (Method::Splice, Method::Copy);
        let fallback = Fallback { from, to, errno: None, at: 5 };
        let mut one = Ledger { waits: [1, 2], cold: 3, ..Ledger::default() };
        one.by_method[Method::Copy.index()] = Tally { bytes: 10, calls: 2 };
        one.fallbacks = vec![fallback];
        let mut sum = one.clone();
        sum += &one;
        assert_eq!((sum.moved(), sum.calls(), sum.cold()), (20, 4, 6));
        assert_eq!((sum.waits(Side::Source), sum.waits(Side::Sink)), (2, 4));
        assert_eq!(sum.fallbacks(), [fallback, Fallback { at: 15, ..fallback }]);
    }
}
