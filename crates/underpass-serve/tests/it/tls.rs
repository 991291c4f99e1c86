//! The server over TLS, with rustls as its client.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use underpass::tls::TlsStream;
use underpass_serve::access_log::Sink;
use underpass_serve::{Pair, SiteOptions, TlsOptions};
use underpass_testkit::tls::{Identity, NAME};
use underpass_testkit::wait;

use crate::fixture::{Fixture, LARGE_BYTES, fixture, large};
use crate::hosts::sites;
use crate::http2;
use crate::truth::by_method;
use crate::ways;

type Client = StreamOwned<ClientConnection, TcpStream>;

/// A server with its certificate.
pub(crate) struct Secured {
    pub(crate) fixture: Fixture,
    identity: Identity,
}

impl Secured {
    fn new(in_kernel: bool) -> Self {
        Self::of(in_kernel, Sink::Off, None)
    }

    fn of(in_kernel: bool, log: Sink, connections_max: Option<usize>) -> Self {
        let site = SiteOptions::new(fixture().served.clone());
        Self::serving(in_kernel, |tls| Fixture::secured(site, log, connections_max, tls))
    }

    pub(crate) fn serving(in_kernel: bool, serve: impl FnOnce(TlsOptions) -> Fixture) -> Self {
        let (identity, dir) = (Identity::new().unwrap(), tempfile::tempdir().unwrap());
        let pair = Pair { certificates: dir.path().join("crt"), key: dir.path().join("key") };
        fs::write(&pair.certificates, identity.pem()).unwrap();
        fs::write(&pair.key, identity.key_pem()).unwrap();
        let tls = TlsOptions { pairs: vec![pair], only_13: false, in_kernel };
        Self { fixture: serve(tls), identity }
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.identity.client((&TLS13, "")).unwrap()
    }

    pub(crate) fn connect(&self, config: Arc<ClientConfig>) -> Client {
        let client = ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
        StreamOwned::new(client, self.fixture.connect())
    }
}

/// By the kernel where it can, and by rustls.
const WAYS: [bool; 2] = [true, false];

fn get(client: &mut Client, path: &str, fields: &str) {
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").unwrap();
}

fn head(client: &mut Client) -> String {
    ways::head(client).unwrap()
}

fn content(client: &mut Client, len: usize) -> Vec<u8> {
    let mut content = vec![0; len];
    client.read_exact(&mut content).unwrap();
    content
}

/// How the connection ends: `Ok` where the server has said that it does.
fn end(client: &mut Client) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).map(|_| rest)
}

/// Connections whose records the kernel has begun to make, in all.
fn sessions_of_the_kernel() -> u64 {
    let counters = fs::read_to_string("/proc/net/tls_stat").unwrap_or_default();
    let mut lines = counters.lines().filter_map(|line| line.strip_prefix("TlsTxSw"));
    lines.next().map_or(0, |count| count.trim().parse().unwrap())
}

#[test]
fn a_request_for_another_host_than_the_connection_is_for_may_be_misdirected() {
    let dir = tempfile::tempdir().unwrap();
    let all = sites(dir.path(), &[("a.org", "one")]);
    let server = Secured::serving(false, |tls| Fixture::secured_sites(all, tls));
    let mut client = server.connect(server.client());
    for (host, status) in [("a.org", "200"), ("b.org", "421"), (NAME, "404"), ("a.org:1", "200")] {
        write!(client, "GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let head = head(&mut client);
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {head}");
        content(&mut client, crate::fixture::field(&head, "content-length").parse().unwrap());
    }
}

#[test]
fn who_encrypts_has_all_bytes_and_handshakes_are_counted_by_how_they_end() {
    for in_kernel in WAYS {
        let server = Secured::new(in_kernel);
        let mut client = server.connect(server.client());
        let mut got = 0;
        for _ in 0..2 {
            get(&mut client, "/large.bin", "");
            got += head(&mut client).len() + content(&mut client, LARGE_BYTES).len();
        }
        get(&mut client, "/none", "Connection: close\r\n");
        got += end(&mut client).unwrap().len();
        let is_in_kernel = in_kernel && underpass::tls::is_available().is_ok();
        let clear = server.fixture.exchange("GET / HTTP/1.1\r\n\r\n").len();
        let (kernel, rustls) = if is_in_kernel { (got, 0) } else { (0, got) };
        let methods = by_method(&server.fixture, got + clear);
        assert_eq!(methods, [clear, 0, kernel, rustls].map(|bytes| bytes as u64));
        // Not a record that begins a handshake.
        server.fixture.exchange("\x16\x03\x01\0\0");
        let ended = ["ktls", "rustls", "clear", "failed"]
            .map(|how| server.fixture.metric(&format!("handshakes_total{{result=\"{how}\"}}")));
        assert_eq!(ended, [u64::from(is_in_kernel), u64::from(!is_in_kernel), 1, 1]);
    }
}

#[test]
fn every_byte_arrives_over_both_versions_and_the_end_is_said() {
    for in_kernel in WAYS {
        let (server, before) = (Secured::new(in_kernel), sessions_of_the_kernel());
        for version in [&TLS13, &TLS12] {
            let config = server.identity.client((version, "")).unwrap();
            let mut client = server.connect(config);
            get(&mut client, "/digits.txt", "");
            assert!(head(&mut client).starts_with("HTTP/1.1 200 OK\r\n"));
            assert_eq!(content(&mut client, 10), b"0123456789");
            assert_eq!(client.conn.protocol_version(), Some(version.version));
            // Once it is kept, it is answered directly.
            for _ in 0..3 {
                get(&mut client, "/large.bin", "");
                assert!(head(&mut client).contains("\r\ncontent-length: 9000001\r\n"));
                assert!(content(&mut client, LARGE_BYTES) == large());
            }
            get(&mut client, "/digits.txt", "Range: bytes=2-4\r\n");
            assert!(head(&mut client).starts_with("HTTP/1.1 206 "));
            assert_eq!(content(&mut client, 3), b"234");
            get(&mut client, "/none", "Connection: close\r\n");
            let last = String::from_utf8(end(&mut client).unwrap()).unwrap();
            assert!(last.starts_with("HTTP/1.1 404 "), "{last}");
        }
        if in_kernel && underpass::tls::is_available().is_ok() {
            assert!(sessions_of_the_kernel() >= before + 2, "one of each version");
        }
    }
}

#[test]
fn every_byte_arrives_over_http_2_too() {
    for in_kernel in WAYS {
        let (server, before) = (Secured::new(in_kernel), sessions_of_the_kernel());
        let mut config = Arc::unwrap_or_clone(server.client());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        http2::run(async {
            let socket = tokio::net::TcpStream::connect(server.fixture.address).await.unwrap();
            let name = NAME.try_into().unwrap();
            let stream = TlsStream::connect(Arc::new(config), name, socket).await.unwrap();
            assert_eq!(stream.negotiated().alpn.as_deref(), Some(&b"h2"[..]));
            let (client, connection) = h2::client::handshake(stream).await.unwrap();
            tokio::spawn(async { drop(connection.await) });
            let both = tokio::join!(
                http2::whole(&client, "/large.bin"),
                http2::whole(&client, "/digits.txt")
            );
            assert!(both.0.unwrap() == large() && both.1.unwrap() == b"0123456789");
        });
        if in_kernel && underpass::tls::is_available().is_ok() {
            assert!(sessions_of_the_kernel() > before, "the kernel makes the records");
        }
    }
}

#[test]
fn a_request_that_was_decrypted_with_the_one_before_it_is_not_left_lying() {
    for in_kernel in WAYS {
        let server = Secured::new(in_kernel);
        let mut client = server.connect(server.client());
        // As long as what is read at once, and another behind it in the same record.
        let begin = "GET /digits.txt HTTP/1.1\r\nHost: x\r\nX-Long: ";
        let long = format!("{begin}{}\r\n\r\n", "x".repeat(8192 - 4 - begin.len()));
        for _ in 0..3 {
            write!(client, "{long}GET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            for _ in 0..2 {
                head(&mut client);
                assert_eq!(content(&mut client, 10), b"0123456789");
            }
        }
        // And a hundred at a time.
        let many = "GET /digits.txt HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
        client.write_all(many.as_bytes()).unwrap();
        for _ in 0..100 {
            head(&mut client);
            assert_eq!(content(&mut client, 10), b"0123456789");
        }
    }
}

#[test]
fn a_malformed_request_is_answered_before_the_end_is_said() {
    for in_kernel in WAYS {
        let server = Secured::new(in_kernel);
        let mut client = server.connect(server.client());
        client.write_all(b"GET\r\n\r\n").unwrap();
        let answer = String::from_utf8(end(&mut client).unwrap()).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.ends_with("field.\n"), "{answer}");
    }
}

#[test]
fn an_idle_client_that_gives_up_its_place_is_told() {
    for in_kernel in WAYS {
        let server = Secured::of(in_kernel, Sink::Off, Some(1));
        let mut idle = server.connect(server.client());
        get(&mut idle, "/digits.txt", "");
        head(&mut idle);
        content(&mut idle, 10);
        let mut next = server.connect(server.client());
        get(&mut next, "/digits.txt", "");
        head(&mut next);
        assert_eq!(end(&mut idle).unwrap(), b"");
    }
}

#[test]
fn a_download_whose_file_changes_midway_is_never_ended_as_if_it_were_whole() {
    for (in_kernel, is_cut) in WAYS.map(|way| [(way, true), (way, false)]).concat() {
        let server = Secured::new(in_kernel);
        let path = fixture().served.join(format!("tls-{in_kernel}-{is_cut}.bin"));
        fs::write(&path, vec![b'a'; 4 * LARGE_BYTES]).unwrap();
        let mut client = server.connect(server.client());
        let name = path.file_name().unwrap().to_str().unwrap();
        get(&mut client, &format!("/{name}"), "Connection: close\r\n");
        content(&mut client, 1_000);
        wait::until_file_times_move();
        let mut file = fs::File::options().write(true).open(&path).unwrap();
        if is_cut {
            file.set_len(5_000).unwrap();
        } else {
            file.write_all(&vec![b'b'; 4 * LARGE_BYTES]).unwrap();
        }
        let mut rest = Vec::new();
        let error = client.read_to_end(&mut rest).expect_err("no close_notify");
        let kind = error.kind();
        assert!(matches!(kind, ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
        assert!(rest.len() < 4 * LARGE_BYTES - 1_000, "{} bytes came", rest.len());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_client_that_speaks_in_the_clear_is_told_to_use_https() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let server = Secured::of(true, Sink::File(log.clone()), None);
    let answer = server.fixture.answers("GET /digits.txt?x HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("This port speaks HTTPS, and the request came in the clear.\n"));
    let logged = || fs::read_to_string(&log).ok().filter(|lines| lines.ends_with('\n'));
    let line = wait::until(Duration::from_secs(10), logged).unwrap();
    assert!(line.contains("\"GET /digits.txt?x HTTP/1.1\" 400 "), "{line}");
}

#[test]
fn what_is_not_tls_or_ends_early_leaves_the_server_serving() {
    let server = Secured::new(true);
    drop(server.fixture.connect());
    for bytes in [&[22, 3, 1][..], &[22, 3, 1, 0, 4, 1, 0, 0, 0], &[0; 600], &[22; 600], &[255; 9]]
    {
        let mut peer = server.fixture.connect();
        peer.write_all(bytes).unwrap();
        // It may have been reset already.
        peer.shutdown(std::net::Shutdown::Write).unwrap_or_default();
        let mut said = Vec::new();
        // An alert, or nothing.
        if peer.read_to_end(&mut said).is_ok() {
            assert!(said.len() < 10, "{said:?}");
        }
    }
    let mut client = server.connect(server.client());
    get(&mut client, "/digits.txt", "Connection: close\r\n");
    assert!(end(&mut client).unwrap().ends_with(b"0123456789"));
}
