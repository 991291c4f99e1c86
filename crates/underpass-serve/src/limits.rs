//! How long a client may take for what, and how much it may send for a request.

use std::num::NonZeroU64;
use std::time::Duration;

/// What the connections of a server are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long the head of a request may take to arrive whole, from its first byte.
    pub header_time: Duration,
    /// The largest head that is read; RFC 9112 §3 asks for 8000 bytes at least.
    pub header_bytes_max: usize,
    /// How long a connection may be idle before it is closed.
    pub idle_time: Duration,
    /// How long a client may take not a byte of its response.
    pub send_time: Duration,
    /// The fewest bytes a second that a client must take of it, over half a minute.
    pub rate_min: Option<NonZeroU64>,
}

/// The time over which a rate is measured: a kernel acknowledges what a program reads in steps.
pub(crate) const RATE_OVER: Duration = Duration::from_secs(30);

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_time: Duration::from_secs(30),
            header_bytes_max: 32 << 10,
            // nginx's default.
            idle_time: Duration::from_secs(75),
            send_time: Duration::from_secs(120),
            rate_min: None,
        }
    }
}
