//! `underpass serve --listen-http`: clients in the clear are sent to https, and certificate
//! authorities get what they ask for.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::tls::Identity;
use underpass_testkit::wait;

use crate::command::underpass;
use crate::place::Place;
use crate::serve_tls::{self, Secured, get};
use crate::service_manager::activated;

const PATIENCE: Duration = Duration::from_secs(20);

const TOKEN: &str = "/.well-known/acme-challenge/aZ0-_";

/// A place with a certificate, and a token to be asked for.
fn place() -> (Place, Identity) {
    let (place, identity) = (serve_tls::place(), Identity::new().unwrap());
    place.write("a", &identity);
    fs::create_dir_all(place.path("served/.well-known/acme-challenge")).unwrap();
    fs::write(place.path("served").join(&TOKEN[1..]), "of the account").unwrap();
    (place, identity)
}

/// A client in the clear.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(socket))
    }

    /// The head of the answer to a request, in lower case but for its values, and the content.
    fn ask(&mut self, request: &str) -> (String, String) {
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "{request}: {head}");
        }
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let is_head = request.starts_with("HEAD");
        let mut content = vec![0; len.filter(|_| !is_head).map_or(0, |it| it.parse().unwrap())];
        self.0.read_exact(&mut content).unwrap();
        (head, String::from_utf8(content).unwrap())
    }

    /// The status of an answer, and where it leads.
    fn status(&mut self, request: &str) -> (u16, Option<String>) {
        let (head, _) = self.ask(request);
        let location = head.lines().find_map(|line| line.strip_prefix("location: "));
        (head[9..12].parse().unwrap(), location.map(Into::into))
    }
}

fn serve(place: &Place, flags: &[&str]) -> (Secured, SocketAddr) {
    let server = place.secured(&["a"], &[&["--listen-http", "0"], flags].concat());
    let address = server.running.address();
    (server, address)
}

#[test]
fn curl_is_led_to_https_with_its_method_and_content() {
    require!(Program("curl"));
    let (place, _) = place();
    let flags = ["--upload", "in/**", "--upload-without-auth"];
    fs::create_dir(place.path("served/in")).unwrap();
    let (server, address) = serve(&place, &flags);
    let authority = place.path("a.crt");
    let clear = format!("http://localhost:{}", address.port());
    let led = |path: &str, flags: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-sSL", "--noproxy", "*", "--max-time", "20", "--cacert"]).arg(&authority);
        curl.args(["-w", " %{http_code} %{num_redirects} %{url_effective}"]).args(flags);
        String::from_utf8(curl.arg(format!("{clear}{path}")).output().unwrap().stdout).unwrap()
    };
    let url = format!("https://localhost:{}", server.port);
    assert_eq!(led("/small", &[]), format!("small\n 200 1 {url}/small"));
    fs::write(place.path("new"), "content").unwrap();
    let new = place.path("new");
    let put = led("/in/new", &["-T", new.to_str().unwrap()]);
    assert_eq!(put, format!(" 201 1 {url}/in/new"));
    assert_eq!(fs::read(place.path("served/in/new")).unwrap(), b"content");
}

#[test]
fn each_request_is_sent_to_its_host_and_path() {
    let (place, identity) = place();
    fs::create_dir(place.path("served/in")).unwrap();
    let flags = ["--upload", "**", "--upload-without-auth", "--workers", "1"];
    let (server, address) = serve(&place, &flags);
    // A file that has not changed for a while is kept, and answered without a look at the site.
    let mut tls = server.connect(&identity).unwrap();
    let is_kept = || {
        let head = get(&mut tls, "/small");
        tls.read_exact(&mut [0; 6]).unwrap();
        (!head.contains("etag: W/")).then_some(())
    };
    wait::until(PATIENCE, is_kept).expect("its tag is strong");
    let mut client = Client::of(address);
    let led = |path: &str| (308, Some(format!("https://a.example:{}{path}", server.port)));
    let host = "HTTP/1.1\r\nHost: a.example\r\n";
    for (line, path) in [
        (format!("GET /small {host}\r\n"), "/small"),
        (format!("GET /none/?a=b {host}\r\n"), "/none/?a=b"),
        (format!("HEAD / {host}\r\n"), "/"),
        (format!("GET //evil.example {host}\r\n"), "//evil.example"),
        (format!("GET /small {host}Range: bytes=0-0\r\nIf-Match: \"a\"\r\n\r\n"), "/small"),
        (format!("DELETE /a {host}\r\n"), "/a"),
        (format!("POST /a {host}Content-Length: 3\r\n\r\nabc"), "/a"),
        (format!("PUT /in/a {host}Content-Length: 3\r\n\r\nabc"), "/in/a"),
        (format!("PUT {TOKEN} {host}Content-Length: 3\r\n\r\nabc"), TOKEN),
    ] {
        assert_eq!(client.status(&line), led(path), "{line}");
    }
    assert!(!place.path("served/in/a").exists());
    assert_eq!(fs::read(place.path("served").join(&TOKEN[1..])).unwrap(), b"of the account");
    let ask = |request: &str| Client::of(address).status(request);
    assert_eq!(ask("GET /a HTTP/1.0\r\nHost: a.example\r\n\r\n"), led("/a"));
    assert_eq!(ask("GET /a HTTP/1.0\r\n\r\n"), (400, None));
    assert_eq!(ask("GET /a HTTP/1.1\r\n\r\n"), (400, None));
    assert_eq!(ask(&format!("GET {TOKEN} HTTP/1.1\r\n\r\n")), (400, None));
    assert_eq!(ask("GET /a HTTP/1.1\r\nHost: a b\r\n\r\n"), (400, None));
    assert_eq!(ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), (204, None));
    assert_eq!(ask("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"), (405, None));
    assert_eq!(ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (505, None));
}

#[test]
fn a_certificate_authority_gets_its_token_and_no_one_anything_else() {
    let (place, _) = place();
    let hash = "$5$abcdefgh$ZLVcChTSZPzTAyNcwUGbbzC0dJ2EYAZlOx6hyy/wxS5";
    let name = format!("name:{hash}");
    let flags = [
        &["--auth", &name, "--fallback", "small", "--redirect", "/* https://b.example/:splat"][..],
        &["--header", "** Strict-Transport-Security: max-age=31536000"],
    ];
    let (server, address) = serve(&place, &flags.concat());
    let mut client = Client::of(address);
    let host = "HTTP/1.1\r\nHost: a.example\r\nAccept: text/html\r\n\r\n";
    for method in ["GET", "HEAD"] {
        let (head, content) = client.ask(&format!("{method} {TOKEN} {host}"));
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(head.contains("content-length: 14\r\n") && !head.contains("strict"), "{head}");
        assert_eq!(content, if method == "GET" { "of the account" } else { "" });
    }
    for path in
        ["/small", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/none", "/../a"]
    {
        let (head, content) = client.ask(&format!("GET {path} {host}"));
        let location = format!("location: https://a.example:{}{path}\r\n", server.port);
        assert!(head.contains(&location) && !head.contains("strict"), "{head}");
        assert_eq!(content, "308 Permanent Redirect\n");
    }
}

#[test]
fn hosts_lead_to_their_own_sites() {
    let (place, _) = place();
    let settings = place.path("settings.toml");
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let text = format!(
        "listen-http = [\"127.0.0.1:0\"]\nhttps-port = 443\n\
         [host.\"a.example\"]\ndirectory = {:?}\n[host.\"b.example\"]\ndirectory = {:?}\n",
        path("served"),
        path("."),
    );
    fs::write(&settings, text).unwrap();
    let files = [path("settings.toml"), path("a.crt"), path("a.key")];
    let mut command = crate::running::program();
    command.args(["serve", "--listen", "0", "--config", &files[0]]);
    command.args(["--tls-cert", &files[1], "--tls-key", &files[2]]);
    let server = crate::running::Running::start(&mut command);
    let mut client = Client::of(server.address());
    let get = |host: &str, path: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    for host in ["a.example", "b.example"] {
        let location = format!("https://{host}/small");
        assert_eq!(client.status(&get(host, "/small")), (308, Some(location)));
    }
    assert_eq!(client.status(&get("a.example", TOKEN)).0, 200);
    assert_eq!(client.status(&get("b.example", TOKEN)).0, 308);
    assert_eq!(client.status(&get("c.example", "/small")), (404, None));
    assert_eq!(client.status(&get("c.example", TOKEN)), (404, None));
    assert_eq!(Client::of(server.address()).status("GET / HTTP/1.0\r\n\r\n"), (404, None));
}

#[test]
fn it_is_nothing_without_tls() {
    let dir = tempfile::tempdir().unwrap();
    let settings = dir.path().join("settings.toml");
    fs::write(&settings, "listen-http = [\"127.0.0.1:0\"]\n").unwrap();
    for flags in [
        &["serve", "--listen-http", "0"][..],
        &["serve", "--check", "--listen-http", "0"],
        &["serve", "--https-port", "443"],
        &["serve", "--config", settings.to_str().unwrap()],
    ] {
        let output = underpass(flags);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--tls-cert") || said.contains("--listen-http"), "{said}");
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}

/// Of sockets that are passed, the port says which one is meant.
#[test]
fn a_socket_that_is_passed_is_known_by_its_port() {
    let (place, _) = place();
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let [served, certificate, key] = ["served", "a.crt", "a.key"].map(path);
    let flags = ["serve", &served, "--tls-cert", &certificate, "--tls-key", &key, "--listen-http"];
    for is_first in [true, false] {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let [first, second] = [listen(), listen()];
        let ports = [&first, &second].map(|it| it.local_addr().unwrap().port());
        let (clear, secured) = if is_first { (ports[0], ports[1]) } else { (ports[1], ports[0]) };
        let wanted = format!("0.0.0.0:{clear}");
        let server = activated(first.into(), second.into(), &[&flags[..], &[&wanted]].concat());
        let expected = format!("https://127.0.0.1:{secured}/, to which http://127.0.0.1:{clear}/");
        assert!(server.line.contains(&expected), "{}", server.line);
        let led = (308, Some(format!("https://x:{secured}/")));
        let request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        assert_eq!(Client::of(server.address()).status(request), led);
        let tls: SocketAddr = ([127, 0, 0, 1], secured).into();
        assert_eq!(Client::of(tls).status(request), (400, None), "TLS is spoken there");
    }
    let passed = || TcpListener::bind("127.0.0.1:0").unwrap().into();
    let server = activated(passed(), passed(), &[&flags[..], &["1"]].concat());
    assert!(server.line.contains("no socket was passed for 127.0.0.1:1; "), "{}", server.line);
    assert_eq!(server.end().0, Some(1));
}
