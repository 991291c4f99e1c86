//! What the fuzz targets see of this crate's parsers; compiled for them alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use underpass_daemon::endpoint::Endpoint;
use underpass_daemon::proxy::{self, Addresses, Version};

use crate::target_list::{Targets, TargetsError};

/// A header's length, and the client and the server that it names.
pub type Header = (usize, Option<(SocketAddr, SocketAddr)>);

/// The PROXY header that these bytes begin with; `None` if more of it has to come.
///
/// # Errors
///
/// Why there is not one.
pub fn proxy_header(bytes: &[u8]) -> Result<Option<Header>, String> {
    let header = proxy::parse(bytes).map_err(|malformed| malformed.to_string())?;
    Ok(header
        .map(|header| (header.len, header.addresses.map(|both| (both.source, both.destination)))))
}

/// The header that says this.
#[must_use]
pub fn encode(version: Version, both: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let addresses = both.map(|(source, destination)| Addresses { source, destination });
    proxy::encode(version, addresses)
}

/// The targets in a file.
///
/// # Errors
///
/// Which line is not one.
pub fn targets(path: PathBuf) -> Result<Vec<Endpoint>, TargetsError> {
    Targets::File(path).read()
}
