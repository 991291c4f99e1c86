//! Every source to every sink, with socat and nginx at the ends that are not files.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability;
use underpass_testkit::{payload, require, wait};

use super::http::{certificate, nginx};
use super::{command, patterned, piped, utf8};
use crate::running::Running;

const LEN: u64 = 1_234_567;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Path,
    /// A pipe.
    Standard,
    /// A file.
    Descriptor,
    Tcp,
    TcpListen,
    Unix,
    UnixListen,
    Http,
    Https,
}

impl End {
    const ALL: [Self; 9] = [
        Self::Path,
        Self::Standard,
        Self::Descriptor,
        Self::Tcp,
        Self::TcpListen,
        Self::Unix,
        Self::UnixListen,
        Self::Http,
        Self::Https,
    ];

    fn is_listening(self) -> bool {
        matches!(self, Self::TcpListen | Self::UnixListen)
    }
}

/// Which way the bytes go over an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

/// What the peers of all pairs share.
struct Rig {
    directory: tempfile::TempDir,
    cert: PathBuf,
    from: PathBuf,
    servers: [Server; 2],
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cert = certificate(directory.path());
        let from = patterned(directory.path(), "from", LEN);
        let servers = [false, true].map(|is_tls| {
            let place = directory.path().join(if is_tls { "tls" } else { "plain" });
            std::fs::create_dir_all(&place).unwrap();
            for name in ["cert.pem", "key.pem"] {
                std::fs::copy(directory.path().join(name), place.join(name)).unwrap();
            }
            let server = nginx(&place, is_tls);
            std::fs::copy(&from, place.join("root/from")).unwrap();
            server
        });
        Self { directory, cert, from, servers }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where the sink's bytes are when all is over; of standard output they are written there.
    fn arrived(&self, sink: End) -> PathBuf {
        let servers = [(End::Http, "plain/root/to"), (End::Https, "tls/root/to")];
        let place = servers.into_iter().find(|(end, _)| *end == sink);
        self.path(place.map_or("to", |(_, place)| place))
    }

    /// socat between the peer's file and an address.
    fn socat(&self, way: Way, address: &str) -> Child {
        let (from, to) = (self.path("from"), self.path("to"));
        let file = match way {
            Way::In => format!("OPEN:{},rdonly", utf8(&from)),
            Way::Out => format!("OPEN:{},creat,trunc", utf8(&to)),
        };
        let ends = if way == Way::In { [&*file, address] } else { [address, &*file] };
        Command::new("socat").arg("-u").args(ends).spawn().unwrap()
    }

    /// The word for an end, and who waits there for the program.
    fn end(&self, end: End, way: Way) -> (String, Option<Child>) {
        let socket = self.path(if way == Way::In { "in" } else { "out" });
        let name = if way == Way::In { "from" } else { "to" };
        match end {
            End::Path => (utf8(&self.path(name)).to_owned(), None),
            End::Standard => ("-".to_owned(), None),
            End::Descriptor => (format!("fd:{}", u8::from(way == Way::Out)), None),
            End::TcpListen => ("tcp-listen://0".to_owned(), None),
            End::UnixListen => (format!("unix-listen://{}", utf8(&socket)), None),
            End::Http => (format!("http://{}/{name}", self.servers[0].address()), None),
            End::Https => (format!("https://{}/{name}", self.servers[1].address()), None),
            End::Tcp => {
                let address = free_address().unwrap();
                let port = address.port();
                let listen = format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr");
                let child = self.socat(way, &listen);
                wait_for_listener("/proc/net/tcp", &tcp_listener(address));
                (format!("tcp://{address}"), Some(child))
            }
            End::Unix => {
                let child = self.socat(way, &format!("UNIX-LISTEN:{}", utf8(&socket)));
                wait_for_listener("/proc/net/unix", utf8(&socket));
                (format!("unix://{}", utf8(&socket)), Some(child))
            }
        }
    }

    fn copy(&self, source: End, sink: End) {
        let (from, serving) = self.end(source, Way::In);
        let (to, taking) = self.end(sink, Way::Out);
        let mut command = command(&[&from, &to]);
        command.env("SSL_CERT_FILE", &self.cert);
        if source == End::Standard {
            command.stdin(piped(&self.from));
        } else if source == End::Descriptor {
            command.stdin(File::open(&self.from).unwrap());
        }
        command.stdout(Stdio::piped());
        if sink == End::Descriptor {
            command.stdout(File::create(self.path("to")).unwrap());
        }
        let mut running = Running::quiet(&mut command);
        let mut peers: Vec<Child> = serving.into_iter().chain(taking).collect();
        for (_, way) in
            [(source, Way::In), (sink, Way::Out)].iter().filter(|(end, _)| end.is_listening())
        {
            let line = running.next_line();
            let address = line.trim_end().strip_prefix("listening at ").unwrap();
            let connect = match address.strip_prefix("tcp://") {
                Some(address) => format!("TCP:{address}"),
                None => format!("UNIX-CONNECT:{}", address.strip_prefix("unix://").unwrap()),
            };
            peers.push(self.socat(*way, &connect));
        }
        let (code, stdout, line) = running.end();
        assert_eq!(code, Some(0), "{source:?} -> {sink:?}: {line}");
        assert!(line.starts_with(&format!("{LEN} bytes in ")), "{source:?} -> {sink:?}: {line}");
        for mut peer in peers {
            assert!(peer.wait().unwrap().success(), "{source:?} -> {sink:?}");
        }
        let arrived = self.arrived(sink);
        let got = if sink == End::Standard { stdout } else { std::fs::read(&arrived).unwrap() };
        assert_eq!(payload::difference(&got, 0, LEN), None, "{source:?} -> {sink:?}");
        if sink != End::Standard {
            std::fs::remove_file(&arrived).unwrap();
        }
    }
}

/// A line of /proc/net/tcp has this for a socket that listens (proc(5)): the address as the
/// machine's own number, the port, and the state 0A.
fn tcp_listener(address: SocketAddr) -> String {
    let host = u32::from_ne_bytes([127, 0, 0, 1]);
    format!("{host:08X}:{:04X} 00000000:0000 0A", address.port())
}

fn wait_for_listener(table: &str, entry: &str) {
    let is_listening = |line: &str| {
        // proc(5): the flag __SO_ACCEPTCON, where the table has flags.
        line.contains(entry) && (table == "/proc/net/tcp" || line.contains(" 00010000 "))
    };
    let listens = || {
        let table = std::fs::read_to_string(table).unwrap();
        table.lines().any(is_listening).then_some(())
    };
    wait::until(Duration::from_secs(10), listens).expect("socat listens");
}

#[test]
fn every_source_goes_to_every_sink() {
    require!(Capability::Program("socat"));
    require!(Capability::Program("nginx"));
    require!(Capability::Program("openssl"));
    let rig = Rig::new();
    for source in End::ALL {
        for sink in End::ALL {
            rig.copy(source, sink);
        }
    }
}
