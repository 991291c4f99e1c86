//! Which bytes of the source are copied.
//!
//! Written as in an HTTP Range field, so a number means the same here, in `curl -r` and on the
//! wire: both ends are inclusive.
//!
//! Source: RFC 9110 §14.1.2.

use std::fmt;
use std::str::FromStr;

/// A part of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// All of it.
    #[default]
    Whole,
    /// `FIRST-LAST` or `FIRST-`.
    From {
        /// The first byte's position.
        first: u64,
        /// The last byte's position; the end of the source without it.
        last: Option<u64>,
    },
    /// `-COUNT`: this many bytes at the end.
    Suffix(u64),
}

/// A word that is not a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give FIRST-LAST, FIRST- or -COUNT, such as 0-499, 500- or -500; both ends are included")]
pub struct RangeError;

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (first, last) = text.split_once('-').ok_or(RangeError)?;
        let number = |text: &str| match text {
            "" => Ok(None),
            _ if text.starts_with('+') => Err(RangeError),
            _ => text.parse().map(Some).map_err(|_| RangeError),
        };
        match (number(first)?, number(last)?) {
            (Some(first), last) if last.is_none_or(|last| (first..u64::MAX).contains(&last)) => {
                Ok(Self::From { first, last })
            }
            (None, Some(count)) => Ok(Self::Suffix(count)),
            _ => Err(RangeError),
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("0-"),
            Self::From { first, last: Some(last) } => write!(f, "{first}-{last}"),
            Self::From { first, last: None } => write!(f, "{first}-"),
            Self::Suffix(count) => write!(f, "-{count}"),
        }
    }
}

impl Range {
    /// Where it starts in a source of `len` bytes, and how many bytes it has; `None` if it starts
    /// after the end.
    #[must_use]
    pub fn within(self, len: u64) -> Option<(u64, u64)> {
        match self {
            Self::Whole => Some((0, len)),
            Self::From { first, .. } if first > len => None,
            Self::From { first, last } => {
                let end = last.map_or(len, |last| (last + 1).min(len));
                Some((first, end - first))
            }
            Self::Suffix(count) => Some((len - count.min(len), count.min(len))),
        }
    }

    /// Bytes to skip and bytes to take of a stream; `None` for a suffix, because a stream has to be
    /// read to find its end.
    #[must_use]
    pub const fn of_stream(self) -> Option<(u64, Option<u64>)> {
        match self {
            Self::Whole => Some((0, None)),
            Self::From { first, last: None } => Some((first, None)),
            Self::From { first, last: Some(last) } => Some((first, Some(last - first + 1))),
            Self::Suffix(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_and_cut_at_the_end() {
        let within = |text: &str, len| text.parse::<Range>().unwrap().within(len);
        assert_eq!(within("0-499", 1000), Some((0, 500)));
        assert_eq!(within("500-", 1000), Some((500, 500)));
        assert_eq!(within("500-5000", 1000), Some((500, 500)));
        assert_eq!(within("-300", 1000), Some((700, 300)));
        assert_eq!(within("-3000", 1000), Some((0, 1000)));
        assert_eq!(within("1000-", 1000), Some((1000, 0)));
        assert_eq!(within("1001-", 1000), None);
        assert_eq!("5-9".parse::<Range>().unwrap().of_stream(), Some((5, Some(5))));
    }

    #[test]
    fn what_is_not_a_range_is_refused() {
        for text in [
            "",
            "-",
            "5",
            "9-5",
            "a-b",
            "1-2-3",
            "+1-2",
            "18446744073709551616-",
            "0-18446744073709551615",
        ] {
            assert_eq!(text.parse::<Range>(), Err(RangeError), "{text}");
        }
    }
}
