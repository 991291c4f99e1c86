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
    /// It is the relay itself, and each connection would make another.
    #[error("the target {0} is where the relay listens itself")]
    Itself(Endpoint),
}

impl Targets {
    /// The endpoints of a relay that listens at `listen`, read again if they are in a file.
    pub(crate) fn read(&self, listen: &[Endpoint]) -> Result<Vec<Endpoint>, TargetsError> {
        let endpoints = match self {
            Self::Fixed(endpoints) => endpoints.clone(),
            Self::File(path) => read_targets(path)?,
        };
        refuse_itself(&endpoints, listen)?;
        if endpoints.is_empty() { Err(TargetsError::None) } else { Ok(endpoints) }
    }
}

/// A connection to a target that is the relay itself would make another, for ever.
pub(crate) fn refuse_itself(targets: &[Endpoint], listen: &[Endpoint]) -> Result<(), TargetsError> {
    let is_itself = |target: &&Endpoint| listen.iter().any(|own| target.leads_to(own));
    targets.iter().find(is_itself).map_or(Ok(()), |it| Err(TargetsError::Itself(it.clone())))
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
