//! Where the targets come from: the command line, or a file that is read again on a reload.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use underpass_daemon::endpoint::{Endpoint, EndpointError};

/// Where the targets come from.
#[derive(Debug, Clone)]
pub enum Targets {
    /// These.
    Fixed(Vec<Endpoint>),
    /// The lines of this file, which is read again on SIGHUP.
    File(PathBuf),
}

/// Why there are no targets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetsError {
    /// It cannot be read.
    #[error("cannot read the targets in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A line is not an endpoint.
    #[error("{}, line {line}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: EndpointError,
    },
    /// There is not one.
    #[error("no target to relay to")]
    None,
    /// It is all addresses, to which there is no connection.
    #[error("the target {0} is every address of this machine: give the one to connect to")]
    Every(Endpoint),
    /// It is the relay itself, and each connection would make another.
    #[error("the target {0} is where the relay listens itself")]
    Itself(Endpoint),
}

impl Targets {
    /// The endpoints, read again if they are in a file.
    pub(crate) fn read(&self) -> Result<Vec<Endpoint>, TargetsError> {
        let endpoints = match self {
            Self::Fixed(endpoints) => endpoints.clone(),
            Self::File(path) => read_targets(path)?,
        };
        let is_every = |target: &&Endpoint| matches!(target, Endpoint::Name(h) if h.is_every());
        if let Some(every) = endpoints.iter().find(is_every) {
            return Err(TargetsError::Every(every.clone()));
        }
        if endpoints.is_empty() { Err(TargetsError::None) } else { Ok(endpoints) }
    }

    /// Whether there may be names to look up, now or after a reload.
    pub(crate) fn may_be_named(&self) -> bool {
        match self {
            Self::Fixed(endpoints) => endpoints.iter().any(|it| matches!(it, Endpoint::Name(_))),
            Self::File(_) => true,
        }
    }
}

/// One target a line; empty lines and what follows a `#` are not read.
fn read_targets(path: &Path) -> Result<Vec<Endpoint>, TargetsError> {
    let text = fs::read_to_string(path)
        .map_err(|source| TargetsError::Read { path: path.into(), source })?;
    let mut endpoints = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        if !line.is_empty() {
            let wrong = |source| TargetsError::Line { path: path.into(), line: index + 1, source };
            endpoints.push(line.parse().map_err(wrong)?);
        }
    }
    Ok(endpoints)
}
