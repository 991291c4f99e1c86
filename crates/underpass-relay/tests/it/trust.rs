//! Whose PROXY headers are believed: connections from several addresses of this machine.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use underpass_relay::{AcceptProxy, Endpoint, Options, PerAddressLimit, Version};
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::fixture::{PATIENCE, Running, accept, connect_unix, listener, options, unix};

/// What a client who wants to be somebody else begins with.
const LIE: &[u8] = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello";

/// A relay that says who its clients are, and believes these networks who theirs are.
fn believing(networks: &[&str], target: Endpoint) -> Options {
    let mut wanted = options(&[target]);
    wanted.accept_proxy = AcceptProxy::From(networks.iter().map(|n| n.parse().unwrap()).collect());
    wanted.send_proxy = Some(Version::V1);
    wanted
}

/// Connects from an address of this machine.
fn connect_from(from: &str, to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let from: IpAddr = from.parse().unwrap();
    rustix::net::bind(&socket, &SocketAddr::new(from, 0)).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and their end.
fn send(mut client: impl Write, bytes: &[u8], end: impl FnOnce(Shutdown) -> std::io::Result<()>) {
    client.write_all(bytes).unwrap();
    end(Shutdown::Write).unwrap();
}

fn read_all(mut stream: impl Read) -> String {
    let mut got = String::new();
    stream.read_to_string(&mut got).unwrap();
    got
}

#[test]
fn a_header_from_a_trusted_network_is_believed_and_a_stranger_s_is_his_own_bytes() {
    let (target, endpoint) = listener();
    let relay = Running::start(believing(&["127.0.0.2/31", "127.0.0.9"], endpoint));
    let to = relay.address();
    for trusted in ["127.0.0.2", "127.0.0.3", "127.0.0.9"] {
        let client = connect_from(trusted, to);
        send(&client, LIE, |how| client.shutdown(how));
        assert_eq!(read_all(accept(&target)).as_bytes(), LIE, "{trusted}");
    }
    assert_eq!(relay.metric("strangers_total"), 0);
    for stranger in ["127.0.0.1", "127.0.0.4"] {
        let client = connect_from(stranger, to);
        send(&client, LIE, |how| client.shutdown(how));
        let from = client.local_addr().unwrap().port();
        let truth = format!("PROXY TCP4 {stranger} 127.0.0.1 {from} {}\r\n", to.port());
        let want = [truth.as_bytes(), LIE].concat();
        assert_eq!(read_all(accept(&target)).as_bytes(), want, "{stranger}");
    }
    assert_eq!(relay.metric("strangers_total"), 2);
    // Who has to send a header has to.
    let mut client = connect_from("127.0.0.2", to);
    client.write_all(b"hello").unwrap();
    client.read(&mut [0]).unwrap_err();
    relay.until("ended_total{end=\"bad-header\"}", 1);
}

#[test]
fn whom_a_header_names_is_counted_and_not_who_sends_it() {
    for accept_proxy in
        [AcceptProxy::From(vec!["127.0.0.2".parse().unwrap()]), AcceptProxy::FromEveryone]
    {
        let (target, endpoint) = listener();
        let mut wanted = options(&[endpoint]);
        wanted.accept_proxy = accept_proxy;
        let (max, proxies) = (NonZeroUsize::MIN, Vec::new());
        wanted.daemon.connections_per_address = Some(PerAddressLimit { max, proxies });
        let relay = Running::start(wanted);
        let connect = |client: &str| {
            let mut peer = connect_from("127.0.0.2", relay.address());
            let header = format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\nx");
            peer.write_all(header.as_bytes()).unwrap();
            peer
        };
        let one = (connect("192.0.2.1"), accept(&target));
        let _two = (connect("192.0.2.2"), accept(&target));
        connect("192.0.2.1").read(&mut [0]).unwrap_err();
        relay.until("ended_total{end=\"one-too-many\"}", 1);
        assert_eq!(relay.metric("refused_total"), 1);
        drop(one);
        let again = || {
            let mut peer = connect("192.0.2.1");
            peer.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let is_open = peer.read(&mut [0]).is_err_and(|it| it.kind() == ErrorKind::WouldBlock);
            is_open.then_some(())
        };
        wait::until(PATIENCE, again).expect("a place is free");
    }
}

/// A stranger of whom no header is expected may let the target speak first.
#[test]
fn a_stranger_who_waits_for_the_target_to_speak_is_not_kept_waiting() {
    let (target, endpoint) = listener();
    let mut wanted = believing(&["127.0.0.2"], endpoint);
    wanted.send_proxy = None;
    let relay = Running::start(wanted);
    let mut client = connect_from("127.0.0.1", relay.address());
    let mut server = accept(&target);
    server.write_all(b"220").unwrap();
    client.read_exact(&mut [0; 3]).unwrap();
}

#[test]
fn a_socket_of_both_families_knows_the_networks_of_either() {
    let (target, endpoint) = listener();
    let mut wanted = believing(&["127.0.0.2"], endpoint);
    wanted.daemon.listen = vec!["[::]:0".parse().unwrap()];
    let relay = Running::start(wanted);
    let to = SocketAddr::new("127.0.0.1".parse().unwrap(), relay.address().port());
    let client = connect_from("127.0.0.2", to);
    send(&client, LIE, |how| client.shutdown(how));
    assert_eq!(read_all(accept(&target)).as_bytes(), LIE);
}

#[test]
fn clients_of_a_path_are_trusted_by_a_word_and_by_no_network() {
    let dir = tempfile::tempdir().unwrap();
    for (networks, header) in [(&["unix"][..], ""), (&["0.0.0.0/0", "::/0"], "PROXY UNKNOWN\r\n")] {
        let (target, endpoint) = listener();
        let mut wanted = believing(networks, endpoint);
        wanted.daemon.listen = vec![unix(&dir.path().join(networks.len().to_string()))];
        let relay = Running::start(wanted);
        let Endpoint::Unix(path) = &relay.endpoint else { panic!("{} is a path", relay.endpoint) };
        let client = connect_unix(path);
        send(&client, LIE, |how| client.shutdown(how));
        let want = [header.as_bytes(), LIE].concat();
        assert_eq!(read_all(accept(&target)).as_bytes(), want, "{networks:?}");
    }
}

/// Two load balancers that send headers, of which one is ours.
#[test]
fn one_haproxy_is_believed_and_another_is_not() {
    require!(Program("haproxy"));
    let dir = tempfile::tempdir().unwrap();
    let (target, endpoint) = listener();
    let relay = Running::start(believing(&["127.0.0.2"], endpoint));
    for (from, is_trusted) in [("127.0.0.2", true), ("127.0.0.3", false)] {
        let front = free_address().unwrap();
        let configuration = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen front\n bind {front}\n server relay {} source {from} send-proxy\n",
            relay.endpoint,
        );
        let path = dir.path().join(from);
        std::fs::write(&path, configuration).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.arg("-db").arg("-q").arg("-f").arg(&path);
        let haproxy = Server::start(&mut haproxy, front).unwrap();
        let client = TcpStream::connect(front).unwrap();
        send(&client, b"hello", |how| client.shutdown(how));
        let port = client.local_addr().unwrap().port();
        let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\n", front.port());
        // The fixture connected too, to see that it listens.
        let got = wait::until(PATIENCE, || {
            Some(read_all(accept(&target))).filter(|got| got.ends_with("hello"))
        });
        let got = got.unwrap();
        haproxy.stop().unwrap();
        if is_trusted {
            assert_eq!(got, header + "hello");
        } else {
            let (first, rest) = got.split_once("\r\n").unwrap();
            assert!(first.starts_with("PROXY TCP4 127.0.0.3 127.0.0.1 "), "{got}");
            assert_eq!(rest, header + "hello");
        }
    }
}
