//! A Prometheus server on a data directory, over loopback.
//!
//! Blocks stay as they are written: none is merged with another (2.42 and 2.53 merge those that
//! overlap), and none is too old to be kept.
//!
//! Source: Prometheus' HTTP API; RFC 1945 (a response of HTTP/1.0 ends with its connection).

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::suite::{Suite, Tools};
use super::write::{self, Series};
use crate::server::{Server, free_address};
use crate::wait;

/// How long a server may take to read its data, or to answer that it has.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct PrometheusServer {
    server: Server,
    _scratch: tempfile::TempDir,
}

impl PrometheusServer {
    /// Starts it on `data`, which it writes to, with this configuration in YAML, and waits until
    /// it is ready for queries.
    ///
    /// # Errors
    ///
    /// Those of starting it, with what it logged.
    pub fn start(tools: &Tools, data: &Path, configuration: &str) -> io::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let file = scratch.path().join("prometheus.yml");
        fs::write(&file, configuration)?;
        let log = scratch.path().join("log");
        let address = free_address()?;
        let mut command = command(tools, data, &file, address);
        command.stdout(Stdio::null()).stderr(fs::File::create(&log)?);
        match Server::start(&mut command, address) {
            Ok(server) => {
                let started = Self { server, _scratch: scratch };
                started.wait_until_ready().map(|()| started)
            }
            Err(error) => {
                let log = fs::read_to_string(log).unwrap_or_default();
                Err(io::Error::new(error.kind(), format!("prometheus: {error}\n{log}")))
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Writes samples, in this order.
    ///
    /// # Errors
    ///
    /// Those of the connection; `Other` with the answer if it refuses one.
    pub fn write(&self, series: &[Series]) -> io::Result<()> {
        let headers = "Content-Encoding: snappy\r\nContent-Type: application/x-protobuf\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
        self.ask("POST", "/api/v1/write", headers, &write::request(series)).map(drop)
    }

    /// The answer to an instant query at a time in milliseconds: JSON.
    ///
    /// # Errors
    ///
    /// As those of [`PrometheusServer::write`].
    pub fn query(&self, query: &str, time_ms: i64) -> io::Result<String> {
        let (time, query) = (seconds(time_ms), percent_encoded(query));
        self.get(&format!("/api/v1/query?time={time}&query={query}"))
    }

    /// Marks samples of the series that a selector finds as deleted, from one time to the other
    /// in milliseconds, both included.
    ///
    /// # Errors
    ///
    /// As those of [`PrometheusServer::write`].
    pub fn delete(&self, selector: &str, from_ms: i64, to_ms: i64) -> io::Result<()> {
        let (from, to) = (seconds(from_ms), seconds(to_ms));
        let selector = percent_encoded(selector);
        let path =
            format!("/api/v1/admin/tsdb/delete_series?match[]={selector}&start={from}&end={to}");
        self.ask("POST", &path, "", &[]).map(drop)
    }

    /// Writes everything that it has to blocks below `data`; the directory they are in.
    ///
    /// # Errors
    ///
    /// As those of [`PrometheusServer::write`].
    pub fn snapshot(&self, data: &Path) -> io::Result<std::path::PathBuf> {
        self.ask("POST", "/api/v1/admin/tsdb/snapshot", "", &[])?;
        let mut all = fs::read_dir(data.join("snapshots"))?;
        let newest = all.next().ok_or_else(|| io::Error::other("there is no snapshot"))?;
        Ok(newest?.path())
    }

    /// The body of an answer.
    ///
    /// # Errors
    ///
    /// As those of [`PrometheusServer::write`].
    pub fn get(&self, path: &str) -> io::Result<String> {
        self.ask("GET", path, "", &[])
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// Those of [`Server::stop`].
    pub fn stop(self) -> io::Result<()> {
        self.server.stop().map(drop)
    }

    fn wait_until_ready(&self) -> io::Result<()> {
        let ready = wait::until(PATIENCE, || self.get("/-/ready").ok());
        ready.map(drop).ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "it is not ready"))
    }

    fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        let len = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\n{headers}Content-Length: {len}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200" | "204") => Ok(body.to_owned()),
            _ => Err(io::Error::other(format!("{method} {path}: {answer}"))),
        }
    }
}

fn command(tools: &Tools, data: &Path, configuration: &Path, at: SocketAddr) -> Command {
    let mut command = Command::new(&tools.prometheus);
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.tsdb.path={}", data.display()));
    command.arg(format!("--web.listen-address={at}"));
    command.args([
        "--web.enable-admin-api",
        "--web.enable-remote-write-receiver",
        "--enable-feature=native-histograms",
        "--storage.tsdb.retention.time=100y",
        "--storage.tsdb.min-block-duration=2h",
        "--storage.tsdb.max-block-duration=2h",
        "--query.lookback-delta=5m",
        // Debian's default directories belong to a package that is not installed.
        "--web.console.templates=/nonexistent",
        "--web.console.libraries=/nonexistent",
    ]);
    // 2.42 and 2.53 have no such option, and merge blocks that overlap.
    if tools.suite == Suite::Sid {
        command.arg("--no-storage.tsdb.allow-overlapping-compaction");
    }
    command
}

/// As the API reads times: seconds with a fraction.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut to, byte| {
        if byte.is_ascii_alphanumeric() {
            to.push(byte.into());
        } else {
            write!(to, "%{byte:02X}").expect("a String takes every write");
        }
        to
    })
}
