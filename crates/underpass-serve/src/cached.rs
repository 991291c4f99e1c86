//! What became of a request for what an origin has, as the log tells it.

use std::time::Duration;

/// How a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cached {
    /// As the metrics name it.
    pub(crate) result: &'static str,
    /// How long the origin took to answer, if it was asked for this request.
    pub(crate) origin: Option<Duration>,
    /// How long the request waited for that.
    pub(crate) waited: Option<Duration>,
}
