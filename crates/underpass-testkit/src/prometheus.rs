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
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"), PathBuf::from);
    target.join("prometheus")
}

/// Makes the directory `name` unless it is kept already; of concurrent tests and processes one
/// makes it and the others wait.
///
/// What is made appears whole: in a temporary directory first, then renamed.
///
/// # Errors
///
/// Those of making it, and of the file system.
pub fn keep<E>(name: &str, make: impl FnOnce(&Path) -> Result<(), E>) -> Result<PathBuf, E>
where
    E: From<std::io::Error>,
{
    let dir = kept();
    let path = dir.join(name);
    std::fs::create_dir_all(&dir)?;
    let lock = std::fs::File::create(dir.join(format!("{name}.lock")))?;
    lock.lock()?;
    if !path.is_dir() {
        let new = tempfile::Builder::new().prefix("new-").tempdir_in(&dir)?;
        make(new.path())?;
        std::fs::rename(new.keep(), &path)?;
    }
    Ok(path)
}
