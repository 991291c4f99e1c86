//! nginx as a source with ranges and as a WebDAV sink, with and without TLS; curl as the judge.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use underpass_testkit::require;
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::{Capability, Requirement};
use underpass_testkit::{payload, wait};

use super::{assert_payload, command, failure, names, patterned, piped, report, utf8};

const LEN: u64 = 3_456_789;

/// nginx that serves and takes files in `root`, by TLS with the certificate next to it.
pub(super) fn nginx(directory: &Path, is_tls: bool) -> Server {
    let (address, root) = (free_address().unwrap(), directory.join("root"));
    if !root.exists() {
        std::fs::create_dir(&root).unwrap();
    }
    let tls = if is_tls { "ssl_certificate cert.pem; ssl_certificate_key key.pem;" } else { "" };
    let ssl = if is_tls { " ssl" } else { "" };
    let configuration = format!(
        "daemon off; pid nginx.pid; error_log stderr crit; worker_processes 1; user root;\n\
         events {{ }}\n\
         http {{ access_log off; client_body_temp_path {d}/body; proxy_temp_path {d}/p;\n\
         fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;\n\
         server {{ listen {address}{ssl}; {tls} root {d}/root; client_max_body_size 0;\n\
         location / {{ dav_methods PUT; }}\n\
         location /small/ {{ client_max_body_size 1k; dav_methods PUT; }}\n\
         location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}\n\
         location /dated/ {{ alias {d}/root/; etag off; }}\n\
         location /plain/ {{ alias {d}/root/; max_ranges 0; }} }} }}\n",
        d = utf8(directory),
    );
    std::fs::write(directory.join("nginx.conf"), configuration).unwrap();
    let mut nginx = Command::new("nginx");
    nginx.args(["-p", utf8(directory), "-c", "nginx.conf"]).stderr(Stdio::null());
    Server::start(&mut nginx, address).unwrap()
}

#[test]
fn nginx_is_read_whole_in_ranges_and_from_where_a_copy_stopped() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path(), false);
    let url = |path: &str| format!("http://{}/{path}", server.address());
    patterned(&dir.path().join("root"), "file", LEN);
    let to = dir.path().join("to");
    let account = report(&[&url("file"), utf8(&to)]);
    assert_eq!((&account["bytes"], &account["through_user_space"]), (&LEN.into(), &0.into()));
    assert_payload(&to, 0, LEN);
    for path in ["file", "plain/file", "moved/file"] {
        for (range, start, len) in [("1000-4999", 1_000, 4_000), ("-77", LEN - 77, 77)] {
            report(&["--range", range, &url(path), utf8(&to)]);
            assert_payload(&to, start, len);
        }
    }
    for path in ["file", "plain/file"] {
        std::fs::remove_file(&to).unwrap();
        patterned(dir.path(), "to.part", 1_234_567);
        let account = report(&["--resume", &url(path), utf8(&to)]);
        assert_eq!(account["resumed_at"], 1_234_567);
        assert_eq!(account["bytes"], LEN - 1_234_567);
        assert_payload(&to, 0, LEN);
    }
    std::fs::write(dir.path().join("wrong.part"), vec![b'x'; 100_000]).unwrap();
    let wrong = dir.path().join("wrong");
    let (code, line) = failure(&["--resume", &url("file"), utf8(&wrong)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("differs from http://"), "{line}");
    let (code, line) = failure(&[&url("none"), utf8(&wrong)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("/none: the server answered 404 Not Found; check the path"), "{line}");
    assert!(!wrong.exists());
}

#[test]
fn files_and_streams_are_put_where_curl_finds_them() {
    require!(Capability::Program("nginx"));
    require!(Capability::Program("curl"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path(), false);
    let url = |path: &str| format!("http://{}/{path}", server.address());
    let from = patterned(dir.path(), "from", LEN);
    let account = report(&[utf8(&from), &url("put")]);
    assert_eq!((&account["bytes"], &account["through_user_space"]), (&LEN.into(), &0.into()));
    assert_eq!(account["methods"][0]["method"], "sendfile");
    let output = command(&["-", &url("streamed")]).stdin(piped(&from)).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let chained = report(&[&url("put"), &url("again")]);
    assert_eq!(chained["through_user_space"], 0, "{chained}");
    let mut short = command(&["--range", "0-99999999", "-", &url("short")]);
    assert!(short.stdin(piped(&from)).output().unwrap().status.success());
    for path in ["put", "streamed", "again", "short"] {
        let curl = Command::new("curl").args(["-sf", &url(path)]).output().unwrap();
        assert_eq!(payload::difference(&curl.stdout, 0, LEN), None, "{path}");
    }
    let (code, line) = failure(&[utf8(&from), &url("small/x")]);
    assert_eq!(code, Some(1));
    assert!(line.contains("the server answered 413"), "{line}");
}

/// A certificate for this machine and its key, as cert.pem and key.pem in `directory`.
pub(super) fn certificate(directory: &Path) -> PathBuf {
    let (key, cert) = (directory.join("key.pem"), directory.join("cert.pem"));
    let openssl = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-days", "2"])
        .args(["-keyout", utf8(&key), "-out", utf8(&cert)])
        .stderr(Stdio::null())
        .status();
    assert!(openssl.unwrap().success());
    cert
}

#[test]
fn tls_is_spoken_with_servers_whose_authority_is_known_and_no_others() {
    require!(Capability::Program("nginx"));
    require!(Capability::Program("openssl"));
    let dir = tempfile::tempdir().unwrap();
    let cert = certificate(dir.path());
    let server = nginx(dir.path(), true);
    let url = format!("https://{}/file", server.address());
    let (from, to) = (patterned(dir.path(), "from", LEN), dir.path().join("to"));
    let run = |arguments: &[&str], authorities: &Path| {
        let output = command(arguments).env("SSL_CERT_FILE", authorities).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, line) = run(&[utf8(&from), &url], &cert);
    assert_eq!(code, Some(0), "{line}");
    let (code, line) = run(&["--checksum", "blake3", &url, utf8(&to)], &cert);
    assert_eq!(code, Some(0), "{line}");
    if Capability::KernelTls.meet().is_ok() {
        assert!(line.contains("splice") && line.contains(", 0 bytes through"), "{line}");
    } else {
        assert!(line.contains(&format!("{LEN} bytes through user space")), "{line}");
        assert!(line.contains("; TLS in user space: the kernel has no TLS"), "{line}");
        let (code, line) = run(&["--method", "splice", &url, utf8(&to)], &cert);
        assert_eq!(code, Some(1), "{line}");
        let why = "splice cannot be used with https://127.0.0.1:";
        assert!(line.contains(why) && line.contains("use --prefer"), "{line}");
    }
    assert_payload(&to, 0, LEN);
    std::fs::remove_file(&to).unwrap();
    let other = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let (code, line) = run(&[&url, utf8(&to)], other);
    assert_eq!(code, Some(1));
    assert!(
        line.contains("cannot make a TLS connection to") || line.contains("certificates"),
        "{line}"
    );
    assert!(!to.exists());
}

/// Answers one request with `answer` and closes.
fn server_of(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") {
            peer.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        peer.write_all(&answer).unwrap();
    });
    address
}

#[test]
fn answers_in_any_framing_are_read_and_cut_ones_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    let body = "underpass";
    for (head, content, is_whole) in [
        ("Content-Length: 9", body, true),
        ("Content-Length: 10", body, false),
        ("Transfer-Encoding: chunked", "4\r\nunde\r\n5\r\nrpass\r\n0\r\n\r\n", true),
        ("Transfer-Encoding: chunked", "4\r\nunde\r\n5\r\nrpass\r\n", false),
        ("Connection: close", body, true),
        ("Content-Length: 9\r\nContent-Length: 8", body, false),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{content}");
        let url = format!("http://{}/", server_of(answer.into_bytes()));
        let (code, line) = failure(&["-q", &url, utf8(&to)]);
        assert_eq!(code, Some(i32::from(!is_whole)), "{head}: {line}");
        let made = if is_whole { vec!["to"] } else { vec![] };
        assert_eq!(names(dir.path()), made, "{head}: {line}");
        if is_whole {
            assert_eq!(std::fs::read(&to).unwrap(), body.as_bytes());
            std::fs::remove_file(&to).unwrap();
        }
    }
}

#[test]
fn ranges_of_one_file_come_over_several_connections() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let server = nginx(dir.path(), false);
    let url = |path: &str| format!("http://{}/{path}", server.address());
    patterned(&dir.path().join("root"), "file", 9_876_543);
    let to = dir.path().join("to");
    for (connections, range, start, len) in [
        ("4", "0-", 0, 9_876_543),
        ("3", "1000-8001000", 1_000, 8_000_001),
        ("64", "-1", 9_876_542, 1),
    ] {
        let account =
            report(&["--parallel", connections, "--range", range, &url("file"), utf8(&to)]);
        assert_eq!((&account["bytes"], &account["through_user_space"]), (&len.into(), &0.into()));
        assert_payload(&to, start, len);
    }
    let output = command(&["--parallel", "4", &url("plain/file"), utf8(&to)]).output().unwrap();
    let lines = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && lines.contains("has no ranges"), "{lines}");
    assert_payload(&to, 0, 9_876_543);
    std::fs::remove_file(&to).unwrap();
    let (code, line) = failure(&["--parallel", "4", &url("none"), utf8(&to)]);
    assert_eq!(code, Some(1), "{line}");
    assert!(!to.exists());
    let (code, line) = failure(&["--parallel", "4", "/dev/null", utf8(&to)]);
    assert_eq!(code, Some(1));
    assert!(line.contains("--parallel cannot be used with /dev/null"), "{line}");
}

#[test]
fn a_download_is_gone_on_with_unless_the_server_has_another_version() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir_in(underpass_testkit::disk::disk_dir().unwrap()).unwrap();
    let server = nginx(dir.path(), false);
    let url = format!("http://{}/file", server.address());
    let (to, part) = (dir.path().join("to"), dir.path().join("to.part"));
    let root = dir.path().join("root");
    for (is_changed, len) in [(false, LEN), (true, LEN + 1)] {
        patterned(&root, "file", LEN);
        let mut command = command(&["--resume", "--limit-rate", "1M", &url, utf8(&to)]);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let begun = || std::fs::metadata(&part).is_ok_and(|m| m.len() > 0).then_some(());
        wait::until(Duration::from_secs(10), begun).expect("it begins");
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
        let have = std::fs::metadata(&part).unwrap().len();
        assert!((1..LEN).contains(&have), "{have}");
        if is_changed {
            patterned(&root, "file", len);
            let (code, line) = failure(&["--resume", &url, utf8(&to)]);
            assert_eq!(code, Some(1));
            assert!(
                line.contains("has changed since") && line.contains("to.part was begun"),
                "{line}"
            );
            assert_eq!(std::fs::metadata(&part).unwrap().len(), have);
            assert!(!to.exists());
        } else {
            let account = report(&["--resume", &url, utf8(&to)]);
            assert_eq!(account["resumed_at"], have);
            assert_eq!(account["through_user_space"], 0);
            assert_payload(&to, 0, LEN);
            std::fs::remove_file(&to).unwrap();
        }
    }
}
