//! A served tree, and conversations with its server.
//!
//! One server serves all tests of the binary. Its files are settled before it is used: each
//! has a strong entity-tag, which takes a second after it was written.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{CWD, FileType, Mode};
use underpass_serve::access_log::{Format, Sink};
use underpass_serve::{
    Http2Options, Options, Publisher, Server, Settings, SiteOptions, Sites, TlsOptions,
};
use underpass_testkit::wait;

/// Trees are named so, with the id of their process.
const PREFIX: &str = "serve-it-";

/// The modification date of `digits.txt`.
pub(crate) const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// The length of `large.bin`, past what any socket buffer holds.
pub(crate) const LARGE_BYTES: usize = 9_000_001;

/// A server of a tree that holds:
///
/// ```text
/// digits.txt    0123456789
/// empty.txt
/// large.bin     byte i is i mod 251
/// site/index.html
/// plain/b.txt, plain/é.txt
/// out -> ../secret
/// fifo
/// ```
pub(crate) struct Fixture {
    pub(crate) address: SocketAddr,
    metrics: SocketAddr,
    /// The served directory.
    pub(crate) served: PathBuf,
}

/// The fixture, made on first use.
pub(crate) fn fixture() -> &'static Fixture {
    static FIXTURE: OnceLock<Fixture> = OnceLock::new();
    FIXTURE.get_or_init(|| {
        let served = tree();
        let fixture = Fixture::serve(served);
        let is_settled = || fixture.etag("/digits.txt").starts_with('"').then_some(());
        wait::until(Duration::from_secs(10), is_settled).expect("a second passes");
        fixture
    })
}

fn tree() -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR"));
    // Where the tests run and were not built, it is not there.
    fs::create_dir_all(all).unwrap();
    sweep(all);
    let tree = all.join(format!("{PREFIX}{}", std::process::id()));
    let served = tree.join("served");
    for directory in ["site", "plain"] {
        fs::create_dir_all(served.join(directory)).unwrap();
    }
    fs::write(tree.join("secret"), "secret").unwrap();
    fs::write(served.join("digits.txt"), "0123456789").unwrap();
    fs::write(served.join("empty.txt"), "").unwrap();
    fs::write(served.join("large.bin"), large()).unwrap();
    fs::write(served.join("site/index.html"), "<p>index</p>\n").unwrap();
    fs::write(served.join("plain/b.txt"), "b").unwrap();
    fs::write(served.join("plain/\u{e9}.txt"), "e acute").unwrap();
    symlink("../secret", served.join("out")).unwrap();
    rustix::fs::mknodat(CWD, served.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let digits = fs::File::options().append(true).open(served.join("digits.txt")).unwrap();
    digits.set_modified(UNIX_EPOCH + Duration::from_secs(784_111_777)).unwrap();
    served
}

/// Removes the trees of processes that have ended: a static fixture is never dropped.
fn sweep(all: &Path) {
    for tree in fs::read_dir(all).unwrap() {
        let name = tree.unwrap().file_name().into_string().unwrap();
        let Some(process) = name.strip_prefix(PREFIX) else { continue };
        if !Path::new("/proc").join(process).exists() {
            fs::remove_dir_all(all.join(&name)).unwrap();
        }
    }
}

/// The content of `large.bin`.
pub(crate) fn large() -> Vec<u8> {
    (0..LARGE_BYTES).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

impl Fixture {
    /// Another server of the same tree, which only this test uses.
    pub(crate) fn alone() -> Self {
        Self::serve(fixture().served.clone())
    }

    /// The same with a log.
    pub(crate) fn logging(log: &Path) -> Self {
        Self::start(fixture().served.clone(), Sink::File(log.into()), None)
    }

    /// A server of a site with a log.
    pub(crate) fn logging_site(site: SiteOptions, log: &Path) -> Self {
        Self::bind(site, Sink::File(log.into()), None)
    }

    /// One of this directory, whose log is in JSON.
    pub(crate) fn in_json(served: PathBuf, log: &Path) -> Self {
        Self::site_in_json(SiteOptions::new(served), log)
    }

    /// One of a site, whose log is in JSON.
    pub(crate) fn site_in_json(site: SiteOptions, log: &Path) -> Self {
        let served = site.root.clone();
        Self::run(served, server(site, Sink::File(log.into()), None).logging_in(Format::Json))
    }

    /// One that has room for a few connections.
    pub(crate) fn small(connections_max: usize) -> Self {
        Self::start(fixture().served.clone(), Sink::Off, NonZeroUsize::new(connections_max))
    }

    /// A server of a directory.
    pub(crate) fn serve(served: PathBuf) -> Self {
        Self::start(served, Sink::Off, None)
    }

    /// A server of a site with its options.
    pub(crate) fn of(site: SiteOptions) -> Self {
        Self::bind(site, Sink::Off, None)
    }

    /// A server of several sites.
    pub(crate) fn of_sites(sites: Sites) -> Self {
        Self::published(sites).0
    }

    /// The same with what replaces them.
    pub(crate) fn published(sites: Sites) -> (Self, Publisher) {
        let mut server = Server::bind_sites(daemon(Sink::Off, None), sites).unwrap();
        let publisher = server.publisher();
        (Self::run(PathBuf::new(), server), publisher)
    }

    /// The same over TLS.
    pub(crate) fn secured_sites(sites: Sites, tls: TlsOptions) -> Self {
        let server = Server::bind_sites(daemon(Sink::Off, None), sites).unwrap();
        Self::run(PathBuf::new(), server.secured(tls).unwrap())
    }

    fn start(served: PathBuf, log: Sink, connections_max: Option<NonZeroUsize>) -> Self {
        Self::bind(SiteOptions::new(served), log, connections_max)
    }

    /// A server over TLS.
    pub(crate) fn secured(
        site: SiteOptions,
        log: Sink,
        connections_max: Option<usize>,
        tls: TlsOptions,
    ) -> Self {
        let served = site.root.clone();
        let connections_max = connections_max.and_then(NonZeroUsize::new);
        Self::run(served, server(site, log, connections_max).secured(tls).unwrap())
    }

    /// One over TLS, of which clients may choose HTTP/2 or not.
    pub(crate) fn choosing(site: SiteOptions, tls: TlsOptions, has_http2: bool) -> Self {
        let served = site.root.clone();
        let http2 = has_http2.then(Http2Options::default);
        Self::run(served, server(site, Sink::Off, None).with_http2(http2).secured(tls).unwrap())
    }

    fn bind(site: SiteOptions, log: Sink, connections_max: Option<NonZeroUsize>) -> Self {
        let served = site.root.clone();
        Self::run(served, server(site, log, connections_max))
    }

    fn run(served: PathBuf, server: Server) -> Self {
        let address = server.endpoints()[0].tcp().unwrap();
        let metrics = server.metrics_address().unwrap();
        // It serves until the process ends.
        std::thread::spawn(move || server.run().unwrap());
        Self { address, metrics, served }
    }

    /// The value of one series of the metrics.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let mut scraper = TcpStream::connect(self.metrics).unwrap();
        scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut metrics = String::new();
        scraper.read_to_string(&mut metrics).unwrap();
        let mut lines = metrics.lines().filter_map(|line| line.strip_prefix("underpass_serve_"));
        let found = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{series} in {metrics}")).parse().unwrap()
    }

    /// Everything that comes back for these bytes, until the server closes the connection. The
    /// last request must ask for that.
    pub(crate) fn exchange(&self, requests: &str) -> Vec<u8> {
        let mut peer = self.connect();
        peer.write_all(requests.as_bytes()).unwrap();
        let mut answers = Vec::new();
        peer.read_to_end(&mut answers).unwrap();
        answers
    }

    /// The same as text, each date of origination replaced by `NOW`.
    pub(crate) fn answers(&self, requests: &str) -> String {
        let text = String::from_utf8(self.exchange(requests)).unwrap();
        let lines = text.split_inclusive("\r\n").map(|line| match line.strip_prefix("date: ") {
            Some(date) => {
                // "Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                assert!(date.len() == 31 && date.ends_with(" GMT\r\n"), "{line}");
                "date: NOW\r\n"
            }
            None => line,
        });
        lines.collect()
    }

    /// A connection that fails instead of waiting for ever.
    pub(crate) fn connect(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer
    }

    /// The entity-tag of a file.
    pub(crate) fn etag(&self, path: &str) -> String {
        let answer =
            self.answers(&format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"));
        field(&answer, "etag").to_owned()
    }
}

/// A server that is bound.
fn server(site: SiteOptions, log: Sink, connections_max: Option<NonZeroUsize>) -> Server {
    Server::bind(Options { daemon: daemon(log, connections_max), site }).unwrap()
}

fn daemon(log: Sink, connections_max: Option<NonZeroUsize>) -> Settings {
    Settings {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        workers: NonZeroUsize::MIN,
        grace: None,
        connections_max,
        connections_per_address: None,
        metrics: Some((Ipv4Addr::LOCALHOST, 0).into()),
        log,
    }
}

/// The value of a field of the first answer.
pub(crate) fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let head = answer.split_once("\r\n\r\n").unwrap().0;
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(found, _)| *found == name).unwrap_or_else(|| panic!("{name} in {head}")).1
}
