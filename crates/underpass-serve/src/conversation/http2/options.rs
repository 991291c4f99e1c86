//! What of HTTP/2 is to be decided.

use std::num::NonZeroU32;

/// How HTTP/2 is spoken.
#[derive(Debug, Clone)]
pub struct Http2Options {
    /// Requests of one connection that may be under way at a time; further ones are refused.
    pub streams_max: NonZeroU32,
}

impl Http2Options {
    /// As many streams as nginx allows.
    pub const STREAMS_MAX: NonZeroU32 = NonZeroU32::new(128).unwrap();
}

impl Default for Http2Options {
    fn default() -> Self {
        Self { streams_max: Self::STREAMS_MAX }
    }
}
