//! A directory with files of three sizes, and where a program keeps what it needs.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use underpass_testkit::disk::disk_dir;
use underpass_testkit::payload::pattern;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability::{Program, Root, Strace};
use underpass_testkit::skip::{Missing, Requirement};

/// No length is a multiple of a page or of a call. The first is more than a socket buffers, the
/// last less than what servers copy on purpose, and more than what is too little to be told.
pub(crate) const FILES: [(&str, u64); 3] =
    [("large.bin", 4_194_307), ("medium.bin", 100_003), ("small.bin", 5_003)];

pub(crate) struct Site {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir_in(disk_dir().unwrap().canonicalize().unwrap()).unwrap();
        // Some servers become another user before they open a file.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = dir.path().join("www");
        fs::create_dir(&root).unwrap();
        for (name, _) in FILES {
            // Dirty pages are written back at some later time, and differ meanwhile.
            let mut file = fs::File::create(root.join(name)).unwrap();
            file.write_all(&content(name)).unwrap();
            file.sync_all().unwrap();
        }
        Self { dir, root }
    }

    /// The directory of the files.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The name by which a report knows a file.
    pub(crate) fn name(&self, file: &str) -> String {
        self.root.join(file).display().to_string()
    }

    /// Where a program keeps a file that it does not serve.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file for a program, and returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Makes `key.pem` and `cert.pem`.
    pub(crate) fn certificate(&self) -> (PathBuf, PathBuf) {
        let identity = underpass_testkit::tls::Identity::new().unwrap();
        (self.write("key.pem", &identity.key_pem()), self.write("cert.pem", &identity.pem()))
    }

    /// Starts a server in the directory of the files. What it says is in a file of the site.
    pub(crate) fn start(&self, command: &mut Command, address: SocketAddr) -> Server {
        let said = fs::File::create(self.path("said")).unwrap();
        command.current_dir(&self.root).stdin(Stdio::null());
        command.stdout(said.try_clone().unwrap()).stderr(said);
        Server::start(command, address).unwrap_or_else(|error| panic!("{error}: {}", self.said()))
    }

    /// What the server said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.path("said")).unwrap_or_default()
    }
}

/// What is in the file of that name. No two begin alike.
pub(crate) fn content(name: &str) -> Vec<u8> {
    let at = FILES.iter().position(|(file, _)| *file == name).unwrap();
    let start = 17 * (at as u64 + 1);
    pattern(start..start + FILES[at].1)
}

pub(crate) fn address() -> SocketAddr {
    free_address().unwrap()
}

/// What every one of these tests needs, and these programs.
pub(crate) fn programs(names: &[&'static str]) -> Result<(), Missing> {
    Root.meet()?;
    Strace.meet()?;
    ["curl"].iter().chain(names).try_for_each(|name| Program(name).meet())
}
