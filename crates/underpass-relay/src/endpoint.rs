//! Where to listen and where to connect: TCP addresses and paths of Unix sockets.
//!
//! A name is looked up when it is read and stays what it was then. A path may be left over from
//! a server that is gone; it is taken over only if nobody answers there.
//!
//! Source: unix(7), "Pathname sockets" (a bound path outlives its socket).

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use underpass_daemon::listen::{self, BACKLOG};

/// One end that can be listened on or connected to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

/// What a text that is no endpoint lacks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is neither an address nor a path.
    #[error(
        "give ADDRESS:PORT, PORT, tcp://HOST:PORT or unix:PATH, such as [::1]:80 or unix:/run/a"
    )]
    Form,
    /// It names a host that is not found.
    #[error("the host is not found; give ADDRESS:PORT, or a name that resolves")]
    Host(#[source] io::Error),
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// A port alone is that port of 127.0.0.1.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:"));
        match path {
            Some("") => return Err(EndpointError::Form),
            Some(path) => return Ok(Self::Unix(path.into())),
            None => {}
        }
        let text = text.strip_prefix("tcp://").unwrap_or(text);
        if let Ok(port) = text.parse() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Tcp(address));
        }
        // Of IPv6 without brackets nobody can tell which of the numbers is the port.
        if text.rsplit_once(':').is_none_or(|(host, _)| host.contains([':', '/', '[', ']'])) {
            return Err(EndpointError::Form);
        }
        match text.to_socket_addrs() {
            Ok(mut found) => found.next().map(Self::Tcp).ok_or(EndpointError::Form),
            Err(error) if error.kind() == ErrorKind::InvalidInput => Err(EndpointError::Form),
            Err(error) => Err(EndpointError::Host(error)),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket, non-blocking.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The listening sockets of one endpoint, one for each worker.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listeners: Vec<Listener>,
    /// The endpoint, its port resolved.
    pub(crate) endpoint: Endpoint,
    /// Removes the path at the end.
    pub(crate) path: Option<BoundPath>,
}

impl Endpoint {
    /// Whether who connects here comes to whoever listens at `other`, as far as addresses tell.
    pub(crate) fn leads_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(to), Self::Tcp(at)) => {
                // A socket of all IPv6 addresses takes those of IPv4, too (ipv6(7)).
                let is_all = at.ip().is_unspecified() && (at.is_ipv6() || to.is_ipv4());
                let is_here = to.ip().is_loopback() || to.ip().is_unspecified();
                to == at || to.port() == at.port() && is_all && is_here
            }
            _ => self == other,
        }
    }

    /// Listens, with a socket for each of `workers`.
    ///
    /// # Errors
    ///
    /// Those of bind(2) and listen(2); `EADDRINUSE` also for a path where somebody answers.
    pub(crate) fn listen(&self, workers: NonZeroUsize) -> io::Result<Bound> {
        match self {
            Self::Tcp(address) => listen_tcp(*address, workers),
            Self::Unix(path) => listen_unix(path, workers.get()),
        }
    }
}

fn listen_tcp(wanted: SocketAddr, workers: NonZeroUsize) -> io::Result<Bound> {
    let sockets = listen::listen(wanted, workers)?;
    let mut address = wanted;
    let mut listeners = Vec::new();
    for socket in sockets {
        address = socket.local_addr()?;
        listeners.push(Listener::Tcp(socket));
    }
    Ok(Bound { listeners, endpoint: Endpoint::Tcp(address), path: None })
}

/// A Unix socket is one; the workers accept from the same queue.
fn listen_unix(path: &Path, workers: usize) -> io::Result<Bound> {
    remove_stale(path)?;
    let socket = UnixListener::bind(path)?;
    let bound_path = BoundPath::new(path)?;
    socket.set_nonblocking(true)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let mut listeners = Vec::new();
    while listeners.len() < workers {
        listeners.push(Listener::Unix(socket.try_clone()?));
    }
    let endpoint = Endpoint::Unix(path.into());
    Ok(Bound { listeners, endpoint, path: Some(bound_path) })
}

/// Removes the path of a socket that nobody listens on.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = |metadata: fs::Metadata| metadata.file_type().is_socket();
    if !fs::symlink_metadata(path).is_ok_and(is_socket) {
        return Ok(());
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The path of a listening Unix socket of ours, which is removed with it.
#[derive(Debug)]
pub(crate) struct BoundPath {
    path: PathBuf,
    inode: (u64, u64),
}

impl BoundPath {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Self { path: path.into(), inode: (metadata.dev(), metadata.ino()) })
    }
}

impl Drop for BoundPath {
    fn drop(&mut self) {
        let is_ours = |metadata: fs::Metadata| (metadata.dev(), metadata.ino()) == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!("{} stays behind: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_ports_and_paths() {
        let tcp = |text: &str| Endpoint::Tcp(text.parse().unwrap());
        for (text, endpoint) in [
            ("8080", tcp("127.0.0.1:8080")),
            ("0.0.0.0:80", tcp("0.0.0.0:80")),
            ("tcp://[::1]:80", tcp("[::1]:80")),
            ("tcp://9000", tcp("127.0.0.1:9000")),
            ("unix:/run/a", Endpoint::Unix("/run/a".into())),
            ("unix:///run/a", Endpoint::Unix("/run/a".into())),
            ("unix:a", Endpoint::Unix("a".into())),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap(), endpoint, "{text}");
        }
        for text in [
            "",
            "65536",
            "127.0.0.1",
            "unix:",
            "unix://",
            "1.2.3.4:65536",
            "/run/a",
            "::1:80",
            "[::1:80",
            "tpc://127.0.0.1:80",
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.to_string().contains("ADDRESS:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn a_path_left_behind_is_taken_over_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let endpoint = Endpoint::Unix(path.clone());
        let bound = endpoint.listen(NonZeroUsize::MIN).unwrap();
        let again = endpoint.listen(NonZeroUsize::MIN).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        endpoint.listen(NonZeroUsize::MIN).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
