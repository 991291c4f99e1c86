//! The path of a listening Unix socket: taken over from one that is gone, and removed with its own.
//!
//! A path outlives the socket that was bound to it, and keeps others from binding. It is taken
//! over only if no server answers there. An abstract socket, `@NAME`, has no file and leaves
//! nothing behind.
//!
//! Source: unix(7), "Pathname sockets" and "Abstract sockets"; connect(2), `ECONNREFUSED`, which a
//! file of another kind answers, too.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The path of a listening socket of ours, which is removed on drop.
#[derive(Debug)]
pub struct BoundPath {
    path: PathBuf,
    inode: (u64, u64),
}

/// Listens at a path, with a socket that does not block.
///
/// # Errors
///
/// Those of bind(2) and listen(2); `EADDRINUSE` if a server answers there, or if it is not a
/// socket.
pub fn listen(path: &Path) -> io::Result<(UnixListener, Option<BoundPath>)> {
    if let Some(name) = abstract_name(path) {
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        return Ok((listener, None));
    }
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_abandoned(path) => {
            fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    let metadata = fs::symlink_metadata(path)?;
    let path = BoundPath { path: path.into(), inode: (metadata.dev(), metadata.ino()) };
    listener.set_nonblocking(true)?;
    Ok((listener, Some(path)))
}

/// The name of an abstract socket, which a user writes after an `@` as ss(8) does. A file of such
/// a name is written `./@NAME`.
#[must_use]
pub fn abstract_name(path: &Path) -> Option<&[u8]> {
    path.as_os_str().as_bytes().strip_prefix(b"@")
}

/// A socket's address as a user writes it; empty if it has none.
#[must_use]
pub fn name_of(address: &SocketAddr) -> PathBuf {
    if let Some(name) = address.as_abstract_name() {
        return OsString::from_vec([b"@", name].concat()).into();
    }
    address.as_pathname().map(Path::to_path_buf).unwrap_or_default()
}

fn is_abandoned(path: &Path) -> bool {
    let is_socket = |metadata: fs::Metadata| metadata.file_type().is_socket();
    let is_refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    fs::symlink_metadata(path).is_ok_and(is_socket)
        && UnixStream::connect(path).is_err_and(is_refused)
}

impl AsRef<Path> for BoundPath {
    fn as_ref(&self) -> &Path {
        &self.path
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
    fn a_path_left_behind_is_taken_over_and_one_in_use_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        let bound = listen(&path).unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(bound);
        assert!(!path.exists());
        fs::write(&path, "precious").unwrap();
        assert_eq!(listen(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_abstract_socket_has_its_name_and_no_file() {
        let name = format!("@underpass-{}", std::process::id());
        let (listener, path) = listen(name.as_ref()).unwrap();
        assert!(path.is_none() && !Path::new(&name).exists());
        assert_eq!(name_of(&listener.local_addr().unwrap()), Path::new(&name));
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        UnixStream::connect_addr(&address).unwrap();
        assert_eq!(listen(name.as_ref()).unwrap_err().kind(), ErrorKind::AddrInUse);
    }

    #[test]
    fn a_path_that_another_has_taken_since_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let bound = listen(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another's").unwrap();
        drop(bound);
        assert_eq!(fs::read_to_string(&path).unwrap(), "another's");
    }
}
