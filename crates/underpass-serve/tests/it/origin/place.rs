//! An origin, a server that has what it has, and a client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use underpass_client::Client;
use underpass_serve::{Defaults, OriginOptions, OriginSite, SiteOptions};
use underpass_testkit::origin::{Object, Origin};
use underpass_testkit::wait;

use crate::fixture::Fixture;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Place {
    pub(super) origin: Origin,
    pub(super) server: Fixture,
    dir: tempfile::TempDir,
}

/// What a client got.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    head: String,
    pub(super) content: Vec<u8>,
}

impl Got {
    /// The value of a field; nothing without it.
    pub(super) fn field(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut named = fields.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        named.next().map_or("", |(_, value)| value)
    }

    /// How it came to be.
    pub(super) fn cache(&self) -> &str {
        self.field("cache-status").strip_prefix("underpass; ").unwrap_or_default()
    }
}

impl Place {
    pub(super) fn new() -> Self {
        Self::with(|options| options)
    }

    pub(super) fn with(change: impl FnOnce(OriginOptions) -> OriginOptions) -> Self {
        Self::prepared(|_, options| OriginSite::open(change(options)).unwrap())
    }

    /// With a site that is made, while the server does not run yet, for an origin.
    pub(super) fn prepared(make: impl FnOnce(&Origin, OriginOptions) -> OriginSite) -> Self {
        let (origin, dir) = (Origin::start().unwrap(), tempfile::tempdir().unwrap());
        let site = Arc::new(make(&origin, options(&origin, &dir)));
        let options = SiteOptions { origin: Some(site), ..SiteOptions::new(dir.path().into()) };
        let server = Fixture::site_in_json(options, &dir.path().join("log"));
        Self { origin, server, dir }
    }

    pub(super) fn put(&self, path: &str, object: Object) -> Arc<Object> {
        self.origin.put(path, object)
    }

    pub(super) fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[])
    }

    pub(super) fn get_with(&self, path: &str, fields: &[&str]) -> Got {
        self.ask("GET", path, fields)
    }

    pub(super) fn ask(&self, method: &str, path: &str, fields: &[&str]) -> Got {
        let mut peer = TcpStream::connect(self.server.address).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        let fields = fields.iter().map(|field| format!("{field}\r\n")).collect::<String>();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
        peer.write_all(head.as_bytes()).unwrap();
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let content = all.split_off(end + 4);
        let head = String::from_utf8(all).unwrap();
        let is_chunked = head.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n");
        let content = if is_chunked { of_chunks(&content) } else { content };
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Got { status, head, content }
    }

    /// Where its cache is, in `cache`.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the log says, when it has this many lines.
    pub(super) fn log(&self, lines: usize) -> Vec<String> {
        let read = || {
            let text = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
            let all: Vec<_> = text.lines().map(str::to_owned).collect();
            (text.ends_with('\n') && all.len() >= lines).then_some(all)
        };
        wait::until(PATIENCE, read).expect("lines")
    }

    /// How many requests the origin got.
    pub(super) fn asked(&self) -> usize {
        self.origin.request_count()
    }
}

fn of_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").expect("a length");
        let len = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return all;
        }
        all.extend_from_slice(&bytes[end + 2..][..len]);
        bytes = &bytes[end + 4 + len..];
    }
}

fn options(origin: &Origin, dir: &tempfile::TempDir) -> OriginOptions {
    OriginOptions {
        url: origin.url(""),
        client: Client::default().keeping_connections(),
        directory: dir.path().join("cache"),
        bytes_max: 64 << 20,
        free_min: 0,
        timeout: Some(Duration::from_secs(10)),
        connect_timeout: Some(Duration::from_secs(10)),
        defaults: Defaults::default(),
        negative_for: Duration::from_secs(10),
        purge_from: vec!["127.0.0.1".parse().unwrap()],
        relays_max: 256,
        scrub_every: None,
    }
}
