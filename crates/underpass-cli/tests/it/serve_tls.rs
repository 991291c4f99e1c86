//! `underpass serve` over HTTPS: its certificates and their renewal, curl and OpenSSL as clients.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use underpass::tls::rustls::pki_types::CertificateDer;
use underpass::tls::rustls::version::TLS13;
use underpass::tls::rustls::{ClientConnection, StreamOwned};
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::tls::{Identity, NAME};
use underpass_testkit::wait;

use crate::client::head;
use crate::command::underpass;
use crate::place::Place;
use crate::running::Running;

const PATIENCE: Duration = Duration::from_secs(20);

const LARGE_BYTES: u64 = 64 << 20;

/// A place with a file to serve.
pub(crate) fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("served/small"), "small\n").unwrap();
    place
}

impl Place {
    /// Writes a certificate and its key.
    pub(crate) fn write(&self, name: &str, identity: &Identity) {
        fs::write(self.path(&format!("{name}.crt")), identity.pem()).unwrap();
        fs::write(self.path(&format!("{name}.key")), identity.key_pem()).unwrap();
    }

    /// A server with certificates of these names.
    pub(crate) fn secured(&self, names: &[&str], flags: &[&str]) -> Secured {
        let mut command = self.command("0");
        for name in names {
            command.arg("--tls-cert").arg(self.path(&format!("{name}.crt")));
            command.arg("--tls-key").arg(self.path(&format!("{name}.key")));
        }
        let mut running = Running::start(command.args(flags));
        let (_, after) = running.line.split_once("https://127.0.0.1:").unwrap();
        let port = after.split_once('/').unwrap().0.parse().unwrap();
        let who_encrypts = running.next_line();
        Secured { running, port, who_encrypts }
    }
}

pub(crate) struct Secured {
    pub(crate) running: Running,
    pub(crate) port: u16,
    who_encrypts: String,
}

pub(crate) type Client = StreamOwned<ClientConnection, TcpStream>;

impl Secured {
    /// A client that trusts one certificate alone, or why there is none.
    pub(crate) fn connect(&self, trusted: &Identity) -> std::io::Result<Client> {
        let config = trusted.client((&TLS13, "")).unwrap();
        let client = ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut client = StreamOwned::new(client, socket);
        while client.conn.is_handshaking() {
            client.conn.complete_io(&mut client.sock)?;
        }
        Ok(client)
    }

    pub(crate) fn curl(&self, authority: &Path, path: &str, flags: &[&str]) -> (bool, Vec<u8>) {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--noproxy", "*", "--max-time", "20", "--cacert"]).arg(authority);
        curl.arg(format!("https://localhost:{}{path}", self.port));
        let output = curl.args(flags).output().unwrap();
        (output.status.success(), output.stdout)
    }

    /// What `openssl s_client` prints of a connection over which it asks for `/small`.
    fn openssl(&self, flags: &[&str]) -> String {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-ign_eof", "-connect", &format!("127.0.0.1:{}", self.port)]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = client.args(flags).spawn().unwrap();
        let request = b"GET /small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        // One whose handshake failed reads nothing.
        drop(client.stdin.take().unwrap().write_all(request));
        String::from_utf8_lossy(&client.wait_with_output().unwrap().stdout).into_owned()
    }
}

pub(crate) fn get(client: &mut Client, path: &str) -> String {
    write!(client, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    head(client).unwrap()
}

fn shown(client: &Client) -> CertificateDer<'static> {
    client.conn.peer_certificates().unwrap()[0].clone()
}

#[test]
fn it_says_who_makes_the_records_and_why() {
    let place = place();
    place.write("a", &Identity::new().unwrap());
    let server = place.secured(&["a"], &["--ktls", "off"]);
    assert_eq!(server.who_encrypts, "TLS in user space: --ktls off\n");
    let expected = match underpass::tls::is_available() {
        Ok(()) => "TLS by the kernel: files leave by sendfile\n".to_owned(),
        Err(why) => format!("TLS in user space: {why}\n"),
    };
    assert_eq!(place.secured(&["a"], &[]).who_encrypts, expected);
}

#[test]
fn curl_gets_every_byte_over_one_connection_by_either_version() {
    require!(Program("curl"));
    let (place, identity) = (place(), Identity::new().unwrap());
    place.write("a", &identity);
    fs::write(place.path("served/large"), pattern(0..LARGE_BYTES)).unwrap();
    let server = place.secured(&["a"], &[]);
    for (flag, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let (is_well, content) = server.curl(&place.path("a.crt"), "/large", &[flag]);
        assert!(is_well, "{flag}");
        assert_eq!(content.len() as u64, LARGE_BYTES, "{flag}");
        assert_eq!(difference(&content, 0, LARGE_BYTES), None, "{flag}");
        let again = format!("https://localhost:{}/small", server.port);
        let flags = [flag, "-w", "%{http_version} %{num_connects}\n", &again];
        let (is_well, printed) = server.curl(&place.path("a.crt"), "/small", &flags);
        let printed = String::from_utf8(printed).unwrap();
        assert_eq!(printed, format!("small\n{version} 1\nsmall\n{version} 0\n"));
        assert!(is_well, "{flag}");
    }
}

#[test]
fn openssl_gets_the_versions_and_the_certificates_that_it_asks_for() {
    require!(Program("openssl"));
    let place = place();
    place.write("a", &Identity::named(&["a.test"]).unwrap());
    place.write("b", &Identity::named(&["*.b.test"]).unwrap());
    let server = place.secured(&["a", "b"], &[]);
    for (flag, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let said = server.openssl(&[flag, "-alpn", "http/1.1"]);
        assert!(said.contains(&format!("New, {version}, Cipher is ")), "{said}");
        assert!(said.contains("ALPN protocol: http/1.1\n"), "{said}");
        assert!(said.contains("\r\n\r\nsmall\n"), "{said}");
    }
    for flag in ["-tls1", "-tls1_1"] {
        let said = server.openssl(&[flag, "-cipher", "ALL:@SECLEVEL=0"]);
        assert!(said.contains("Cipher is (NONE)"), "{said}");
    }
    let said = server.openssl(&["-alpn", "http/1.1,h2"]);
    assert!(said.contains("ALPN protocol: h2\n"), "the server's preference: {said}");
    let said = place.secured(&["a"], &["--http2", "off"]).openssl(&["-alpn", "h2,http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1\n") && said.contains("small\n"), "{said}");
    let said = server.openssl(&["-alpn", "spdy/1"]);
    assert!(said.contains("No ALPN negotiated\n") && !said.contains("small\n"), "{said}");
    let certificate = |pem: &str| pem.split_once("BEGIN").unwrap().1.replace('\n', "");
    let first = certificate(&fs::read_to_string(place.path("a.crt")).unwrap());
    let second = certificate(&fs::read_to_string(place.path("b.crt")).unwrap());
    for (name, expected) in
        [("a.test", &first), ("x.b.test", &second), ("b.test", &first), ("other", &first)]
    {
        let said = server.openssl(&["-servername", name]).replace('\n', "");
        assert!(said.contains(expected), "{name}: {said}");
    }
    let strict = place.secured(&["a"], &["--tls-min-version", "1.3"]);
    assert!(strict.openssl(&["-tls1_2"]).contains("Cipher is (NONE)"));
    assert!(strict.openssl(&["-tls1_3"]).contains("\r\n\r\nsmall\n"));
}

#[test]
fn a_ticket_resumes_a_session_with_another_worker_too() {
    require!(Program("openssl"));
    let place = place();
    place.write("a", &Identity::new().unwrap());
    let server = place.secured(&["a"], &["--workers", "2"]);
    let session = place.path("session");
    let session = session.to_str().unwrap();
    assert!(server.openssl(&["-sess_out", session]).contains("New, TLSv1.3"));
    for _ in 0..4 {
        assert!(server.openssl(&["-sess_in", session]).contains("Reused, TLSv1.3"));
    }
}

/// As certbot does it: names that are links, led to other files.
#[test]
fn a_renewed_certificate_is_shown_to_the_next_and_no_download_notices() {
    let (place, first, second) = (place(), Identity::new().unwrap(), Identity::new().unwrap());
    fs::create_dir(place.path("archive")).unwrap();
    place.write("archive/1", &first);
    fs::create_dir(place.path("live")).unwrap();
    let lead = |number: u32| {
        for kind in ["crt", "key"] {
            let (link, new) = (place.path(&format!("live/a.{kind}")), place.path("live/new"));
            std::os::unix::fs::symlink(format!("../archive/{number}.{kind}"), &new).unwrap();
            fs::rename(new, link).unwrap();
        }
    };
    lead(1);
    fs::write(place.path("served/large"), pattern(0..LARGE_BYTES)).unwrap();
    // Confined, as it is unless someone wants otherwise.
    let mut server = place.secured(&["live/a"], &[]);
    let mut downloads: Vec<_> = (0..8).map(|_| server.connect(&first).unwrap()).collect();
    for client in &mut downloads {
        assert!(get(client, "/large").starts_with("HTTP/1.1 200 "));
    }
    let mut idle = server.connect(&first).unwrap();
    place.write("archive/2", &second);
    lead(2);
    server.running.signal(Signal::HUP);
    let renewed = || server.connect(&second).ok();
    let client = wait::until(PATIENCE, renewed).expect("the new certificate is shown");
    assert_eq!(shown(&client), second.certificate());
    // What cannot be used leaves it as it is.
    fs::write(place.path("archive/3.crt"), first.pem()).unwrap();
    fs::write(place.path("archive/3.key"), second.key_pem()).unwrap();
    lead(3);
    server.running.signal(Signal::HUP);
    let line = server.running.next_line();
    let said = "the certificates stay what they were: cannot use ";
    assert!(line.contains(said) && line.ends_with("KeyMismatch\n"), "{line}");
    assert_eq!(shown(&server.connect(&second).unwrap()), second.certificate());
    get(&mut idle, "/small");
    for mut client in downloads {
        let mut content = vec![0; usize::try_from(LARGE_BYTES).unwrap()];
        client.read_exact(&mut content).unwrap();
        assert_eq!(difference(&content, 0, LARGE_BYTES), None);
    }
}

#[test]
fn a_stop_waits_for_a_download_and_for_no_handshake() {
    let (place, identity) = (place(), Identity::new().unwrap());
    place.write("a", &identity);
    fs::write(place.path("served/large"), pattern(0..LARGE_BYTES)).unwrap();
    let server = place.secured(&["a"], &["--grace", "off"]);
    let (_mute, mut idle) = (
        TcpStream::connect(("127.0.0.1", server.port)).unwrap(),
        server.connect(&identity).unwrap(),
    );
    let mut client = server.connect(&identity).unwrap();
    get(&mut client, "/large");
    server.running.signal(Signal::TERM);
    assert_eq!(idle.read(&mut [0]).unwrap(), 0, "the end is said");
    let mut content = vec![0; usize::try_from(LARGE_BYTES).unwrap()];
    client.read_exact(&mut content).unwrap();
    assert_eq!(difference(&content, 0, LARGE_BYTES), None);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the end is said");
    drop(client);
    assert_eq!(server.running.end_of_text(), (Some(0), String::new(), String::new()));
}

#[test]
fn certificates_that_cannot_be_used_are_refused_at_the_start() {
    let place = place();
    place.write("a", &Identity::new().unwrap());
    place.write("b", &Identity::new().unwrap());
    let path = |name: &str| place.path(name).to_str().unwrap().to_owned();
    let (certificate, key, other) = (path("a.crt"), path("a.key"), path("b.key"));
    let start = |listen: &str, certificate: &str, key: &str| {
        let flags = ["serve", "--listen", listen, "--tls-cert", certificate, "--tls-key", key];
        underpass(&flags)
    };
    let socket = format!("unix:{}", path("socket"));
    for (output, reason) in [
        (start("0", &certificate, &other), "KeyMismatch"),
        (start("0", &path("none"), &key), "cannot read "),
        (start("0", &key, &key), "it has no certificate in PEM form"),
        (start(&socket, &certificate, &key), "there is no TLS over unix:"),
    ] {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(reason), "{stderr}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// k changes its keys, K asks for ours to be changed too (RFC 8446, 4.6.3). Records by rustls: the
/// kernel does not follow.
#[test]
fn openssl_changes_keys_and_gets_every_byte_by_the_new_ones() {
    require!(Program("openssl"));
    let place = place();
    place.write("a", &Identity::new().unwrap());
    fs::write(place.path("served/large"), "0123456789".repeat(100_000)).unwrap();
    let server = place.secured(&["a"], &["--ktls", "off"]);
    for command in [b"k\n", b"K\n"] {
        let mut client = Command::new("openssl");
        client.args(["s_client", "-tls1_3", "-connect", &format!("127.0.0.1:{}", server.port)]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().unwrap();
        let (mut typed, said) = (client.stdin.take().unwrap(), client.stderr.take().unwrap());
        let mut said = BufReader::new(said).lines().map_while(Result::ok);
        for _ in 0..3 {
            // One at a time: a command is what begins a read of it.
            typed.write_all(command).unwrap();
            assert!(said.any(|line| line.contains("KEYUPDATE")), "it does");
        }
        typed.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let printed = client.wait_with_output().unwrap().stdout;
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.contains(&"0123456789".repeat(100_000)), "{}", printed.len());
    }
}
