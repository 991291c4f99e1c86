//! How long an origin took for a request, and was waited for.

use std::time::{Duration, Instant};

/// Times of one request, for the log.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    /// From when it was asked to its answer, the last time that it was.
    pub(super) origin: Option<Duration>,
    /// How long the request waited, all together.
    pub(super) waited: Option<Duration>,
}

impl Times {
    /// It was waited for since then, and took so long, if it answered.
    pub(super) fn add(&mut self, since: Instant, origin: Option<Duration>) {
        self.origin = origin.or(self.origin);
        self.waited = Some(self.waited.unwrap_or_default() + since.elapsed());
    }
}
