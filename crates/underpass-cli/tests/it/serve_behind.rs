//! `underpass serve` behind a proxy: who the client is, who may ask, and beneath which path.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::require;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::tls::Identity;
use underpass_testkit::wait;

use crate::client;
use crate::place::Place;
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(20);

/// A directory to serve, and a log next to it.
fn place() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("served/in")).unwrap();
    fs::write(place.path("served/a"), "content").unwrap();
    fs::write(place.path("served/in/b"), "inside").unwrap();
    place
}

impl Place {
    fn logging(&self, flags: &[&str]) -> Running {
        self.logging_at("0", flags)
    }

    fn logging_at(&self, listen: &str, flags: &[&str]) -> Running {
        let mut command = self.command(listen);
        command.arg("--access-log").arg(self.path("log")).args(["--workers", "1"]);
        Running::start(command.args(flags))
    }

    /// The client, the target and the status of each line of the log, once there are that many.
    fn lines(&self, wanted: usize) -> Vec<String> {
        let read = || {
            let text = fs::read_to_string(self.path("log")).unwrap();
            let line = |line: &str| {
                let words: Vec<_> = line.split(' ').collect();
                let status = line.split("\" ").nth(1).unwrap().split(' ').next().unwrap();
                format!("{} {} {status}", words[0], words[6])
            };
            let lines: Vec<_> = text.lines().map(line).collect();
            (lines.len() >= wanted).then_some(lines)
        };
        wait::until(PATIENCE, read).expect("there are as many lines")
    }
}

/// Ends it in order: what it holds of the log is written out.
fn stop(server: Running) {
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text().0, Some(0));
}

fn connect(server: &Running) -> TcpStream {
    client::connect(server.address())
}

/// Asks for something so that the server can answer directly, if it keeps the file.
fn ask(peer: &mut TcpStream, path: &str, fields: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
    peer.write_all(request.as_bytes()).unwrap();
    client::answer(peer).unwrap()
}

/// Waits until the server keeps a file.
fn wait_until_kept(peer: &mut TcpStream, path: &str, fields: &str) {
    let is_kept = || ask(peer, path, fields).0.contains("etag: \"").then_some(());
    wait::until(PATIENCE, is_kept).expect("a second passes");
}

/// All that comes back for these bytes.
fn exchange(peer: &mut (impl Read + Write), bytes: &[u8]) -> String {
    peer.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    match peer.read_to_end(&mut answer) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(answer).unwrap(),
    }
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n")
}

const PLAIN: &str = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

fn curl(flags: &[&str], url: &str) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--max-time", "20"]).args(flags).arg(url);
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_proxy_header_names_the_client_however_it_comes() {
    let place = place();
    let server = place.logging(&["--accept-proxy-from", "127.0.0.0/8"]);
    let request = get("/a", "");
    let v1 = b"PROXY TCP4 192.0.2.1 192.0.2.9 1234 80\r\n".to_vec();
    let v2 = |family: &[u8], addresses: &[u8], extensions: &[u8]| {
        let len = u8::try_from(addresses.len() + extensions.len()).unwrap();
        [b"\r\n\r\n\0\r\nQUIT\n\x21", family, &[0, len], addresses, extensions].concat()
    };
    let v4 = v2(b"\x11", b"\xc0\0\x02\x02\xc0\0\x02\x09\x04\xd2\0\x50", b"\x04\0\x01\0");
    let mut v6_addresses = [0; 36];
    (v6_addresses[0], v6_addresses[15]) = (0x20, 3);
    let mapped = b"PROXY TCP6 ::ffff:192.0.2.4 ::1 1 2\r\n".to_vec();
    let headers = [
        (v1, "192.0.2.1"),
        (v4, "192.0.2.2"),
        (v2(b"\x21", &v6_addresses, b""), "2000::3"),
        (mapped, "192.0.2.4"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(b"\0", b"", b""), "127.0.0.1"),
    ];
    for (header, _) in &headers {
        let answer = exchange(&mut connect(&server), &[header, request.as_bytes()].concat());
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("content"), "{answer}");
        let mut peer = connect(&server);
        peer.set_nodelay(true).unwrap();
        for byte in header {
            peer.write_all(&[*byte]).unwrap();
        }
        assert!(exchange(&mut peer, request.as_bytes()).ends_with("content"));
    }
    let want: Vec<_> = headers.iter().flat_map(|(_, client)| [client; 2]).collect();
    let want: Vec<_> = want.iter().map(|client| format!("{client} /a 200")).collect();
    assert_eq!(place.lines(want.len()), want);
}

#[test]
fn a_connection_that_has_to_begin_with_a_header_is_refused_without_one_and_others_are_not() {
    let place = place();
    let server = place.logging(&["--accept-proxy-from", "127.0.0.0/8"]);
    for wrong in ["", "PROXY TCP4 x\r\n", "\r\n\r\n\0\r\nQUIT\n\x31\0\0\0"] {
        let bytes = format!("{wrong}{}", get("/a", ""));
        let answer = exchange(&mut connect(&server), bytes.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.ends_with("begin with a PROXY header.\n"), "{answer}");
    }
    assert!(place.lines(3).iter().all(|line| line.ends_with(" 400")), "{:?}", place.lines(3));
    stop(server);
    let server = place.logging(&["--accept-proxy-from", "192.0.2.0/24,unix"]);
    assert!(exchange(&mut connect(&server), get("/a", "").as_bytes()).ends_with("content"));
    let header = format!("PROXY TCP4 192.0.2.1 192.0.2.9 1 2\r\n{}", get("/a", ""));
    assert!(exchange(&mut connect(&server), header.as_bytes()).starts_with("HTTP/1.1 400 "));
    stop(server);
    let socket = place.path("socket");
    let listen = format!("unix:{}", socket.display());
    let _server = place.logging_at(&listen, &["--accept-proxy-from", "unix"]);
    let answer = exchange(&mut UnixStream::connect(&socket).unwrap(), header.as_bytes());
    assert!(answer.ends_with("content"), "{answer}");
    assert_eq!(place.lines(6)[5], "192.0.2.1 /a 200");
}

#[test]
fn tls_and_http_2_come_after_the_header() {
    require!(Program("curl"));
    let place = place();
    let identity = Identity::new().unwrap();
    fs::write(place.path("crt"), identity.pem()).unwrap();
    fs::write(place.path("key"), identity.key_pem()).unwrap();
    let (crt, key) = (place.path("crt"), place.path("key"));
    let tls = ["--tls-cert", crt.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let trust = ["--accept-proxy-from", "127.0.0.1", "--forwarded-from", "127.0.0.1"];
    let server = place.logging(&[&trust[..], &tls].concat());
    let (_, port) = server.line.split_once("https://127.0.0.1:").unwrap();
    let url = format!("https://127.0.0.1:{}/a", port.split_once('/').unwrap().0);
    let forwarded = "X-Forwarded-For: 198.51.100.7, 192.0.2.1";
    for version in ["--http1.1", "--http2"] {
        let flags = ["-k", "--haproxy-protocol", "-H", forwarded, version];
        assert_eq!(curl(&flags, &url), "content");
    }
    stop(server);
    let denied = ["--forwarded-from", "127.0.0.1", "--deny-from", "192.0.2.2"];
    let server = place.logging(&denied);
    let url = format!("http://{}/a", server.address());
    let status = |client: &str| {
        let flags = ["-o", "/dev/null", "-w", "%{http_code}", "--http2-prior-knowledge", "-H"];
        curl(&[&flags[..], &[&format!("X-Forwarded-For: {client}")]].concat(), &url)
    };
    assert_eq!([status("192.0.2.1"), status("192.0.2.2")], ["200", "403"]);
    // The header names 127.0.0.1 itself, who is believed.
    let want = [&["192.0.2.1 /a 200"; 3][..], &["192.0.2.2 /a 403"]].concat();
    assert_eq!(place.lines(4), want);
}

#[test]
fn a_field_names_the_client_of_each_request_if_the_peer_is_believed() {
    let clients = ["192.0.2.0", "192.0.2.1", "2001:db8::2", "192.0.2.3"];
    for (flags, is_believed) in [
        (["--forwarded-from", "127.0.0.0/8"], true),
        (["--forwarded-from", "192.0.2.0/24"], false),
        (["--forwarded-field", "x-forwarded-for"], false),
    ] {
        let place = place();
        let server = place.logging(&flags);
        let mut peer = connect(&server);
        wait_until_kept(&mut peer, "/a", "");
        let mut want = Vec::new();
        for (nth, client) in clients.iter().enumerate() {
            let path = if nth == 3 { "/none" } else { "/a" };
            let (head, _) = ask(&mut peer, path, &format!("X-Forwarded-For: {client}\r\n"));
            let client = if is_believed { client } else { "127.0.0.1" };
            want.push(format!("{client} {path} {}", &head[9..12]));
        }
        drop(peer);
        stop(server);
        let lines = place.lines(1);
        assert_eq!(lines[lines.len() - want.len()..], want);
    }
}

#[test]
fn nginx_passes_clients_on() {
    require!(Program("nginx"));
    let place = place();
    let server =
        place.logging(&["--forwarded-from", "127.0.0.1/32", "--deny-from", "127.0.0.2,127.0.0.3"]);
    let address = free_address().unwrap();
    let config = place.path("nginx.conf");
    let forward = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
    let text = format!(
        "daemon off; master_process off; pid pid; error_log error.log;\nevents {{ }}\n\
         http {{ access_log off; client_body_temp_path t1; proxy_temp_path t2;\n\
         fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n\
         server {{ listen {address}; location / {{ {forward} proxy_pass http://{}; }} }} }}\n",
        server.address(),
    );
    fs::write(&config, text).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(place.dir.path()).arg("-c").arg(&config).args(["-e", "error.log"]);
    let nginx = Server::start(&mut nginx, address).unwrap();
    let url = format!("http://{}/a", nginx.address());
    let status = ["-o", "/dev/null", "-w", "%{http_code}", "--interface"];
    for (interface, code) in [("127.0.0.2", "403"), ("127.0.0.4", "200"), ("127.0.0.1", "200")] {
        assert_eq!(curl(&[&status[..], &[interface]].concat(), &url), code, "{interface}");
        // What a client says itself stands further left.
        let lie = ["-H", "X-Forwarded-For: 127.0.0.3"];
        let flags = [&lie[..], &status, &[interface]].concat();
        let code = if interface == "127.0.0.1" { "403" } else { code };
        assert_eq!(curl(&flags, &url), code, "{interface}");
    }
}

/// With health checks, whose headers name no one.
#[test]
fn haproxy_passes_connections_on() {
    require!(Program("haproxy"));
    require!(Program("curl"));
    let place = place();
    let server = place.logging(&["--accept-proxy-from", "127.0.0.1"]);
    for version in ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"] {
        let front = free_address().unwrap();
        let configuration = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen front\n bind {front}\n server one {} check inter 50 {version}\n",
            server.address(),
        );
        fs::write(place.path("haproxy.cfg"), configuration).unwrap();
        let mut haproxy = Command::new("haproxy");
        haproxy.args(["-db", "-q", "-f"]).arg(place.path("haproxy.cfg"));
        let haproxy = Server::start(&mut haproxy, front).unwrap();
        for client in ["127.0.0.5", "127.0.0.6"] {
            let url = format!("http://{front}/a");
            assert_eq!(curl(&["--interface", client], &url), "content", "{version}");
        }
        haproxy.stop().unwrap();
    }
    let want = ["127.0.0.5 /a 200", "127.0.0.6 /a 200"].repeat(3);
    assert_eq!(place.lines(want.len()), want);
}

#[test]
fn addresses_are_let_in_or_not_and_caches_that_others_share_keep_nothing() {
    let place = place();
    let flags = ["--allow-from", "in/** 192.0.2.0/24", "--deny-from", "192.0.2.7"];
    let server = place.logging(&[&flags[..], &["--forwarded-from", "127.0.0.1"]].concat());
    for (client, path, status) in [
        ("192.0.2.1", "/a", "200"),
        ("198.51.100.1", "/a", "200"),
        ("192.0.2.7", "/a", "403"),
        ("192.0.2.1", "/in/b", "200"),
        ("198.51.100.1", "/in/b", "403"),
        ("198.51.100.1", "/in/none", "403"),
        ("198.51.100.1", "/in", "403"),
        ("198.51.100.1", "/%69n/", "403"),
        ("198.51.100.1", "/none", "404"),
        ("192.0.2.7", "/in/b", "403"),
    ] {
        for _ in 0..2 {
            let fields = format!("X-Forwarded-For: {client}\r\n");
            let answer = exchange(&mut connect(&server), get(path, &fields).as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{client} {path} {answer}");
            let is_private = answer.contains("\r\ncache-control: private\r\n");
            assert_eq!(is_private, !matches!(path, "/a" | "/none"), "{path} {answer}");
        }
    }
    let put = "PUT /in/c HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 198.51.100.1\r\n\
               Content-Length: 0\r\nConnection: close\r\n\r\n";
    stop(server);
    let upload = ["--upload", "**", "--upload-without-auth", "--forwarded-from", "127.0.0.1"];
    let server = place.logging(&[&flags[..], &upload].concat());
    assert!(exchange(&mut connect(&server), put.as_bytes()).starts_with("HTTP/1.1 403 "));
    stop(server);
    // What is kept since another may have it, too.
    let server = place.logging(&["--deny-from", "192.0.2.7", "--accept-proxy-from", "127.0.0.1"]);
    let of = |client: &str| {
        let mut peer = connect(&server);
        peer.write_all(format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n").as_bytes()).unwrap();
        peer
    };
    wait_until_kept(&mut of("192.0.2.1"), "/a", "");
    assert_eq!(ask(&mut of("192.0.2.1"), "/a", "").0[9..12], *"200");
    assert_eq!(ask(&mut of("192.0.2.7"), "/a", "").0[9..12], *"403");
}

#[test]
fn the_clients_that_a_header_names_are_counted_and_the_proxy_is_not() {
    let place = place();
    let limit = ["--max-connections-per-address", "1", "--accept-proxy-from", "127.0.0.1"];
    let server = place.logging(&limit);
    let open = |client: &str| {
        let mut peer = connect(&server);
        let header = format!("PROXY TCP4 {client} 192.0.2.9 1 2\r\n{PLAIN}");
        peer.write_all(header.as_bytes()).unwrap();
        let mut first = [0; 12];
        let is_answered = peer.read_exact(&mut first).is_ok();
        is_answered.then_some(peer)
    };
    let one = open("192.0.2.1").expect("the first");
    let _two = open("192.0.2.2").expect("another client");
    assert!(open("192.0.2.1").is_none(), "one too many");
    drop(one);
    wait::until(PATIENCE, || open("192.0.2.1")).expect("its place is free");
}

#[test]
fn a_site_beneath_a_path_has_everything_there() {
    let place = place();
    fs::write(place.path("served/404.html"), "not here").unwrap();
    let redirects = ["--redirect", "/old /a", "--redirect", "/out https://example.org/"];
    let pages = ["--error-page", "404 /404.html", "--header", "in/** X-In: yes"];
    let flags = [&["--path-prefix", "/files"][..], &redirects, &pages].concat();
    let server = place.logging(&flags);
    let ask = |path: &str| exchange(&mut connect(&server), get(path, "").as_bytes());
    for (path, status, location) in [
        ("/files?q", "308", "/files/?q"),
        ("/files/in?q", "308", "/files/in/?q"),
        ("/files/old", "301", "/files/a"),
        ("/files/out", "301", "https://example.org/"),
    ] {
        let answer = ask(path);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains(&format!("\r\nlocation: {location}\r\n")), "{answer}");
    }
    assert!(ask("/files/in/b").contains("\r\nx-in: yes\r\n"));
    assert!(ask("/files/").contains("href=\"in/\""));
    for path in ["/a", "/filesa", "/", "/files/../a", "/files/none"] {
        let answer = ask(path);
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("not here"), "{answer}");
    }
    let mut peer = connect(&server);
    wait_until_kept(&mut peer, "/files/a", "");
    let mut get = |path: &str| self::ask(&mut peer, path, "").1;
    assert_eq!(["/files/a", "/files/%61", "/files/a?b"].map(&mut get), ["content"; 3]);
    assert_eq!(["/filesa", "/a"].map(&mut get), ["not here"; 2]);
    let lines = place.lines(14);
    assert!(lines.contains(&"127.0.0.1 /files/in/b 200".into()), "{lines:?}");
}

#[test]
fn what_is_no_network_field_or_path_is_said() {
    for (flags, reason) in [
        (["--allow-from", "10.0.0.1/8"], "give 10.0.0.0/8"),
        (["--deny-from", "a b"], "'b': give a network"),
        (["--accept-proxy-from", "proxy"], "give a network"),
        (["--forwarded-from", "10/8"], "give a network"),
        (["--forwarded-field", "a b"], "invalid"),
        (["--path-prefix", "files"], "give a path such as /files"),
    ] {
        let output = crate::command::underpass(&[&["serve", "--check"], &flags[..]].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(reason), "{text}");
    }
}

/// Both columns are there: who, and by which name.
#[test]
fn a_name_whose_password_was_right_is_in_the_log() {
    require!(Program("curl"));
    require!(Program("htpasswd"));
    let place = place();
    let htpasswd = |name: &str| {
        let output =
            Command::new("htpasswd").args(["-nbBC", "4", name, "secret"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let users = place.path("users");
    fs::write(&users, [htpasswd("alice"), htpasswd("a \u{e9}")].join("\n")).unwrap();
    let flags = ["--auth-file", users.to_str().unwrap(), "--auth-path", "in/**"];
    let server = place.logging(&[&flags[..], &["--path-prefix", "/p"]].concat());
    let url = |path: &str| format!("http://{}/p{path}", server.address());
    for (pair, path) in [
        ("alice:secret", "/in/b"),
        ("alice:secret", "/in/b"),
        ("a \u{e9}:secret", "/in/b"),
        ("alice:wrong", "/in/b"),
        ("alice:secret", "/a"),
        ("mallory:secret", "/a"),
    ] {
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            curl(&["-u", pair, version], &url(path));
        }
    }
    place.lines(12);
    let text = fs::read_to_string(place.path("log")).unwrap();
    let users: Vec<_> = text.lines().map(|line| line.split(' ').nth(2).unwrap()).collect();
    let escaped = "a\\x20\\xC3\\xA9";
    let want = ["alice", "alice", escaped, "-", "-", "-"];
    assert_eq!(users, want.into_iter().flat_map(|user| [user; 2]).collect::<Vec<_>>());
}
