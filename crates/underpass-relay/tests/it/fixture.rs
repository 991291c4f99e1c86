//! Relays that run in threads of the test, and ports where nothing listens.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use underpass_relay::{AcceptProxy, Endpoint, Options, Relay, Settings, Sink, Targets};
use underpass_testkit::wait;

/// Longer than anything here takes, so that what hangs fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Options for a relay on a free port, with nothing but what is asked for.
pub(crate) fn options(targets: &[Endpoint]) -> Options {
    Options {
        daemon: Settings {
            listen: vec!["0".parse().unwrap()],
            workers: NonZeroUsize::MIN,
            grace: None,
            connections_max: None,
            connections_per_address: None,
            metrics: Some((Ipv4Addr::LOCALHOST, 0).into()),
            log: Sink::Off,
        },
        targets: Targets::Fixed(targets.to_vec()),
        connect_timeout: PATIENCE,
        idle_timeout: None,
        accept_proxy: AcceptProxy::FromNoOne,
        send_proxy: None,
        check_every: None,
        look_up_every: None,
        keep_alive: None,
        exit_idle: None,
    }
}

/// A relay that runs until the process ends.
pub(crate) struct Running {
    pub(crate) endpoint: Endpoint,
    metrics: SocketAddr,
}

impl Running {
    pub(crate) fn start(options: Options) -> Self {
        let relay = Relay::bind(options).unwrap();
        let endpoint = relay.endpoints()[0].clone();
        let metrics = relay.metrics_address().unwrap();
        thread::spawn(move || relay.run().unwrap());
        Self { endpoint, metrics }
    }

    /// A relay with default options.
    pub(crate) fn to(targets: &[Endpoint]) -> Self {
        Self::start(options(targets))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.tcp().unwrap()
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The metrics as they are now.
    pub(crate) fn metrics(&self) -> String {
        let mut scraper = TcpStream::connect(self.metrics).unwrap();
        scraper.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        scraper.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The value of one series.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let metrics = self.metrics();
        let mut lines = metrics.lines().filter_map(|line| line.strip_prefix("underpass_relay_"));
        let found = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{series} in {metrics}")).parse().unwrap()
    }

    /// Waits until a series has a value.
    pub(crate) fn until(&self, series: &str, value: u64) {
        let reached = wait::until(PATIENCE, || (self.metric(series) == value).then_some(()));
        reached.unwrap_or_else(|| panic!("{series} {value} in {}", self.metrics()));
    }
}

pub(crate) fn unix(path: &Path) -> Endpoint {
    Endpoint::Unix(path.into())
}

/// A listening socket on a free port, and its endpoint.
pub(crate) fn listener() -> (TcpListener, Endpoint) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    // socket(7): it holds for accept(2) too.
    set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).unwrap();
    let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
    (listener, endpoint)
}

/// An endpoint where nothing listens, and the socket that keeps its port from everyone else.
pub(crate) fn nobody() -> (OwnedFd, Endpoint) {
    let socket = rustix::net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )
    .unwrap();
    rustix::net::bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let name = rustix::net::getsockname(&socket).unwrap();
    (socket, Endpoint::Tcp(name.try_into().unwrap()))
}

/// The next connection, which fails instead of waiting for ever.
pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub(crate) fn connect_unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}
