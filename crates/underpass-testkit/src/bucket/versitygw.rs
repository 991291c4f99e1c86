//! versitygw, an S3 server whose objects are plain files: a test changes one by a rename, and
//! damages one by a write.
//!
//! Built by Go from its module, once for each target directory.

use std::ffi::CString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::XattrFlags;
use tempfile::TempDir;

use super::{BUCKET, KEY_ID, SECRET};
use crate::kept::keep;
use crate::server::{Server, free_address};
use crate::skip::{Capability, Missing, Requirement};

/// An exact version, so that a test means the same tomorrow.
const VERSION: &str = "1.8.0";

/// The extended attribute in which it keeps the entity-tag of an object.
const TAG_ATTRIBUTE: &str = "user.etag";

/// The program.
#[derive(Debug, Clone)]
pub struct Versitygw(PathBuf);

/// A running server with one bucket, [`BUCKET`].
#[derive(Debug)]
pub struct Gateway {
    server: Server,
    directory: TempDir,
}

/// A request as its access log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Such as `GetObject`, `HeadObject`, `ListObjectsV2`, `PutObject`.
    pub operation: String,
    /// The path and the query as they came.
    pub target: String,
    /// The status of its answer.
    pub status: u16,
}

impl Versitygw {
    /// Finds it, or builds it, which takes two minutes of a core.
    ///
    /// # Errors
    ///
    /// [`Missing`] if there is no Go of its version, or the module cannot be fetched.
    pub fn ready() -> Result<Self, Missing> {
        Capability::Program("go").meet()?;
        let kept = keep("bucket", &format!("versitygw-{VERSION}"), build);
        kept.map(|dir| Self(dir.join("versitygw"))).map_err(|error| Missing::new(error.to_string()))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Those of [`Server::start`] and of the file system.
    pub fn start(&self) -> io::Result<Gateway> {
        self.start_by(Command::new(&self.0), &[])
    }

    /// Starts it as the last words of another command, such as one that changes its clock.
    ///
    /// # Errors
    ///
    /// Those of [`Server::start`] and of the file system.
    pub fn start_under(&self, mut command: Command) -> io::Result<Gateway> {
        command.arg(&self.0);
        self.start_by(command, &[])
    }

    /// Starts it with a certificate and its key, as PEM files.
    ///
    /// # Errors
    ///
    /// Those of [`Server::start`] and of the file system.
    pub fn start_secured(&self, certificate: &Path, key: &Path) -> io::Result<Gateway> {
        let files = [Path::new("--cert"), certificate, Path::new("--key"), key];
        self.start_by(Command::new(&self.0), &files)
    }

    fn start_by(&self, mut command: Command, more: &[&Path]) -> io::Result<Gateway> {
        let directory = TempDir::new()?;
        let root = directory.path().join("root");
        fs::create_dir_all(root.join(BUCKET))?;
        let address = free_address()?;
        command.env("ROOT_ACCESS_KEY", KEY_ID).env("ROOT_SECRET_KEY", SECRET);
        command.args(["--port", &address.to_string(), "--keep-alive", "--quiet"]).args(more);
        command.arg("--access-log").arg(directory.path().join("log"));
        command.arg("posix").arg(&root).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Gateway { server: Server::start(&mut command, address)?, directory })
    }
}

impl Gateway {
    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// The URL of the server, without TLS.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.host())
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// The file of an object.
    #[must_use]
    pub fn path(&self, key: &str) -> PathBuf {
        self.directory.path().join("root").join(BUCKET).join(key)
    }

    /// Puts an object there at once, with an entity-tag that its content tells.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    ///
    /// # Panics
    ///
    /// If the key has no name.
    pub fn put(&self, key: &str, content: &[u8]) -> io::Result<()> {
        let path = self.path(key);
        fs::create_dir_all(path.parent().expect("a bucket"))?;
        let new = tempfile::NamedTempFile::new_in(self.directory.path())?;
        fs::write(new.path(), content)?;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let tag = format!("\"{:016x}\"", hasher.finish());
        let name = CString::new(new.path().as_os_str().as_bytes())?;
        rustix::fs::setxattr(&name, TAG_ATTRIBUTE, tag.as_bytes(), XattrFlags::empty())?;
        new.persist(path)?;
        Ok(())
    }

    /// Takes an object away.
    ///
    /// # Errors
    ///
    /// Those of unlink(2).
    pub fn remove(&self, key: &str) -> io::Result<()> {
        fs::remove_file(self.path(key))
    }

    /// The requests that it has answered, in the order of its log. The last of them may come into
    /// it a moment after its answer.
    ///
    /// # Errors
    ///
    /// Those of reading the log.
    pub fn requests(&self) -> io::Result<Vec<Request>> {
        let log = match fs::read_to_string(self.directory.path().join("log")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            log => log?,
        };
        Ok(log.lines().filter_map(Request::parse).collect())
    }

    /// Ends it, as a crash would.
    ///
    /// # Errors
    ///
    /// Those of kill(2) and wait(2).
    pub fn kill(self) -> io::Result<()> {
        self.server.kill().map(drop)
    }
}

impl Request {
    /// `… s3_GetObject KEY /data/KEY 200 …`; a key may have spaces, a target has none.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.split_once(" s3_")?;
        let (operation, rest) = rest.split_once(' ')?;
        let (_, rest) = rest.split_once(" /")?;
        let mut words = rest.split(' ');
        let target = format!("/{}", words.next()?);
        let status = words.next()?.parse().ok()?;
        Some(Self { operation: operation.to_owned(), target, status })
    }
}

fn build(into: &Path) -> io::Result<()> {
    let mut go = Command::new("go");
    go.args(["install", &format!("github.com/versity/versitygw/cmd/versitygw@v{VERSION}")]);
    let output = go.env("GOBIN", std::path::absolute(into)?).output()?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let last = message.lines().last().unwrap_or("it said nothing");
    Err(io::Error::other(format!("go cannot build versitygw: {last}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wait;

    #[test]
    fn a_line_of_the_log_is_read_whatever_the_key_has() {
        let line = "test data [01/December/2026:01:36:06 +0000] 127.0.0.1 test QHC92NI17OIWN55D \
                    s3_GetObject dir/a b+c%.txt /data/dir/a%20b%2Bc%25.txt 206 - 0 0 0 0 - curl";
        let target = "/data/dir/a%20b%2Bc%25.txt".to_owned();
        let wanted = Request { operation: "GetObject".to_owned(), target, status: 206 };
        assert_eq!(Request::parse(line), Some(wanted));
        assert_eq!(Request::parse("log starts 2026-12-01 01:35:55 +0000 UTC m=+0.011279109"), None);
    }

    #[test]
    fn it_has_a_bucket_and_tells_what_it_was_asked() {
        let gateway = crate::require!(Versitygw::ready()).start().unwrap();
        gateway.put("a b/c", b"content").unwrap();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--user", &format!("{KEY_ID}:{SECRET}")]);
        curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3"]);
        // What Debian's curl leaves out, and the protocol asks for.
        curl.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "--include"]);
        let output = curl.arg(format!("{}/{BUCKET}/a%20b/c", gateway.endpoint())).output().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert!(answer.contains("\r\nETag: \"") && answer.ends_with("\r\ncontent"), "{answer}");
        let asked = wait::until(Duration::from_secs(5), || gateway.requests().unwrap().pop());
        let target = format!("/{BUCKET}/a%20b/c");
        assert_eq!(asked, Some(Request { operation: "GetObject".to_owned(), target, status: 200 }));
    }
}
