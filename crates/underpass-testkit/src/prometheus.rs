//! Prometheus and promtool of several releases, and blocks that they have made.
//!
//! The programs are Debian's packages, unpacked under `target/prometheus` and not installed, so
//! that three releases stand side by side and no service is started. The blocks are made once and
//! kept there too: a test that changes one works on a copy.

mod fixture;
mod samples;
mod server;
mod suite;
mod text;
mod write;

pub use fixture::Fixture;
pub use server::PrometheusServer;
pub use suite::{Suite, Tools};
pub use text::{Plan, write_open_metrics};
pub use write::{Counts, Histogram, STALE, Series, Span};

use std::path::{Path, PathBuf};

/// Where programs and blocks are kept between runs.
fn kept() -> PathBuf {
    crate::kept::family_dir("prometheus")
}

/// Makes the directory `name` unless it is kept already: [`crate::kept::keep`].
///
/// # Errors
///
/// Those of making it, and of the file system.
pub fn keep<E>(name: &str, make: impl FnOnce(&Path) -> Result<(), E>) -> Result<PathBuf, E>
where
    E: From<std::io::Error>,
{
    crate::kept::keep("prometheus", name, make)
}
