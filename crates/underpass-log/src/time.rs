//! Times as Kafka has them: milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now.
pub(crate) fn now() -> i64 {
    millis_of(SystemTime::now())
}

/// A time as a number. What is before 1970 is taken for its beginning.
pub(crate) fn millis_of(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
