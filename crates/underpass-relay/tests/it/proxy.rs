//! The PROXY protocol on the wire: between the relay and the test, and with HAProxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use underpass_relay::{AcceptProxy, Version};
use underpass_testkit::require;
use underpass_testkit::server::free_address;
use underpass_testkit::skip::Capability::Program;

use crate::fixture::{Running, accept, listener, options};

const CHECK_EVERY: Duration = Duration::from_millis(20);

/// HAProxy, for as long as the test lasts.
struct HaProxy(Child);

impl HaProxy {
    fn start(directory: &Path, configuration: &str) -> Self {
        let path = directory.join("configuration");
        std::fs::write(&path, configuration).unwrap();
        let mut haproxy = Command::new("haproxy");
        // With -q it would close its standard output.
        haproxy.args(["-db", "-f"]).arg(&path).stdout(Stdio::piped()).stderr(Stdio::null());
        Self(haproxy.spawn().unwrap())
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn read_all(mut stream: TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn a_target_is_told_who_the_client_is() {
    for version in [Version::V1, Version::V2] {
        let (target, endpoint) = listener();
        let mut wanted = options(&[endpoint]);
        wanted.send_proxy = Some(version);
        let relay = Running::start(wanted);
        let mut client = relay.connect();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (from, to) = (client.local_addr().unwrap(), relay.address());
        let header = match version {
            Version::V1 => {
                let (from, to) = (from.port(), to.port());
                format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {to}\r\n").into_bytes()
            }
            Version::V2 => [
                &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01"[..],
                &from.port().to_be_bytes(),
                &to.port().to_be_bytes(),
            ]
            .concat(),
        };
        let server = accept(&target);
        assert_eq!(read_all(server.try_clone().unwrap()), [&header[..], b"hello"].concat());
        drop((client, server));
        relay.until("ended_total{end=\"closed\"}", 1);
        // A header is the relay's word and not the client's.
        assert_eq!(relay.metric("relayed_bytes_total{direction=\"up\",method=\"copy\"}"), 5);
    }
}

#[test]
fn a_header_that_comes_in_is_passed_on_in_the_other_version() {
    let (target, endpoint) = listener();
    let mut wanted = options(&[endpoint]);
    (wanted.accept_proxy, wanted.send_proxy) = (AcceptProxy::FromEveryone, Some(Version::V1));
    let relay = Running::start(wanted);
    let header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\x01\x02\x03\x04\x05\x06\x07\x08\0\x50\0\x51\x04\0\0";
    let stream = [&header[..], b"hello"].concat();
    let want = b"PROXY TCP4 1.2.3.4 5.6.7.8 80 81\r\nhello";
    // In one piece, and byte by byte.
    for pieces in [stream.len(), 1] {
        let mut client = relay.connect();
        client.set_nodelay(true).unwrap();
        for piece in stream.chunks(pieces) {
            client.write_all(piece).unwrap();
        }
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(accept(&target)), want);
    }
}

#[test]
fn a_client_without_a_header_is_closed_and_reaches_nobody() {
    let (target, endpoint) = listener();
    let mut wanted = options(&[endpoint]);
    wanted.accept_proxy = AcceptProxy::FromEveryone;
    let relay = Running::start(wanted);
    let binary = |rest: &[u8]| {
        let len = u8::try_from(rest.len()).unwrap();
        [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0", &[len][..], rest].concat()
    };
    let addresses = b"\x01\x02\x03\x04\x05\x06\x07\x08\0\x01\xff\xff";
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY",
        b"",
        // An extension that continues after the header; a checksum of another header.
        &[binary(&[addresses, &b"\x04\0\x02x"[..]].concat()), b"x".to_vec()].concat(),
        &binary(&[addresses, &b"\x03\0\x04\x7f\x6e\x70\x7e"[..]].concat()),
    ] {
        let mut client = relay.connect();
        client.write_all(bytes).unwrap();
        // It may be closed already.
        client.shutdown(Shutdown::Write).unwrap_or_default();
        client.read(&mut [0]).unwrap_err();
    }
    relay.until("ended_total{end=\"bad-header\"}", 6);
    target.set_nonblocking(true).unwrap();
    target.accept().unwrap_err();
}

/// HAProxy in front, which sends headers, and behind, which wants them.
#[test]
fn haproxy_understands_both_versions_and_is_understood() {
    require!(Program("haproxy"));
    let dir = tempfile::tempdir().unwrap();
    for (version, word) in [
        (Version::V1, "send-proxy"),
        (Version::V2, "send-proxy-v2"),
        (Version::V2, "send-proxy-v2 proxy-v2-options crc32c"),
    ] {
        let (target, endpoint) = listener();
        let (front, back) = (free_address().unwrap(), free_address().unwrap());
        let mut wanted = options(&[back.to_string().parse().unwrap()]);
        (wanted.accept_proxy, wanted.send_proxy) = (AcceptProxy::FromEveryone, Some(version));
        let relay = Running::start(wanted);
        let timeouts = "timeout connect 5s\n timeout client 20s\n timeout server 20s";
        let configuration = format!(
            "defaults\n mode tcp\n {timeouts}\n\
             listen front\n bind {front}\n server relay {} {word}\n\
             listen back\n bind {back} accept-proxy\n server target {endpoint} send-proxy\n",
            relay.endpoint,
        );
        let _haproxy = HaProxy::start(dir.path(), &configuration);
        let stream = underpass_testkit::wait::until(crate::fixture::PATIENCE, || {
            TcpStream::connect(front).ok()
        });
        let mut client = stream.unwrap();
        client.write_all(b"hello").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let from = client.local_addr().unwrap().port();
        let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {from} {}\r\n", front.port());
        let got = read_all(accept(&target));
        assert_eq!(String::from_utf8(got).unwrap(), format!("{header}hello"));
    }
}

/// A target that wants headers sees a client that breaks off in every check without one.
#[test]
fn a_check_of_a_target_that_wants_headers_is_no_error_there() {
    require!(Program("haproxy"));
    let dir = tempfile::tempdir().unwrap();
    for version in [Version::V1, Version::V2] {
        let (target, endpoint) = listener();
        let back = free_address().unwrap();
        let configuration = format!(
            "global\n log stdout format raw local0\n\
             defaults\n mode tcp\n log global\n option tcplog\n\
             timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen back\n bind {back} accept-proxy\n server target {endpoint}\n",
        );
        let mut haproxy = HaProxy::start(dir.path(), &configuration);
        let mut wanted = options(&[back.to_string().parse().unwrap()]);
        (wanted.send_proxy, wanted.check_every) = (Some(version), Some(CHECK_EVERY));
        let relay = Running::start(wanted);
        // A check goes through to what is behind; three of them do before it is up again.
        for _ in 0..5 {
            drop(accept(&target));
        }
        relay.until(&format!("target_up{{target=\"{back}\"}}"), 1);
        let mut log = BufReader::new(haproxy.0.stdout.take().unwrap());
        let mut lines = String::new();
        while lines.matches(" back back/target ").count() < 5 {
            assert!(log.read_line(&mut lines).unwrap() > 0, "{lines}");
        }
        assert!(!lines.contains("PROXY"), "{lines}");
    }
}
