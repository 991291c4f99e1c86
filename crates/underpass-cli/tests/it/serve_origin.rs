//! `underpass serve --origin` before nginx, with curl as client.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use underpass_testkit::origin::{Fault, Object, Origin, Stop};
use underpass_testkit::server::free_address;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::{require, wait};

use crate::command::underpass;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// nginx with a directory, and rules for what is kept of it.
struct Nginx {
    address: SocketAddr,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Nginx {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let mut nginx = Self { address: free_address().unwrap(), dir, child: None };
        nginx.up();
        nginx
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn put(&self, name: &str, content: &str) {
        std::fs::write(self.path().join("files").join(name), content).unwrap();
    }

    fn up(&mut self) {
        let (dir, address) = (self.path().display(), self.address);
        let config = format!(
            "daemon off; pid {dir}/pid; error_log {dir}/error;\n\
             events {{ }}\n\
             http {{ access_log {dir}/access; client_body_temp_path {dir}/t1;\n\
             proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;\n\
             scgi_temp_path {dir}/t5;\n\
             server {{ listen {address}; root {dir}/files;\n\
             location /fresh {{ expires 10m; }}\n\
             location /stale {{ add_header Cache-Control 'no-cache'; }}\n\
             location /private {{ add_header Cache-Control private; }}\n\
             location /cookie {{ add_header Set-Cookie a=b; }} }} }}\n"
        );
        let path = self.path().join("conf");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new("nginx");
        command.args(["-g", "user root;", "-c"]).arg(&path).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let connect = || std::net::TcpStream::connect(self.address).ok();
        wait::until(PATIENCE, connect).expect("nginx listens");
    }

    fn down(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        child.wait().unwrap();
    }

    /// As many requests as it has answered.
    fn asked(&self) -> usize {
        std::fs::read_to_string(self.path().join("access")).unwrap_or_default().lines().count()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.down();
    }
}

fn serve(nginx: &Nginx, flags: &[&str]) -> Running {
    serve_of(&format!("http://{}", nginx.address), nginx.path(), flags)
}

fn serve_of(url: &str, dir: &Path, flags: &[&str]) -> Running {
    let mut command = program();
    command.args(["serve", "--origin", url, "--listen", "0", "--cache"]);
    Running::start(command.arg(dir.join("cache")).args(flags))
}

/// Head and content, as curl shows them.
fn curl(server: &Running, path: &str, flags: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["-s", "-i", "--max-time", "20"]).args(flags);
    let output = command.arg(format!("http://{}{path}", server.address())).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn has(answer: &str, parts: &[&str]) -> bool {
    let lower = answer.to_lowercase();
    parts.iter().all(|part| lower.contains(&part.to_lowercase()))
}

#[test]
fn what_nginx_has_is_kept_as_long_as_it_says() {
    require!(Program("nginx"));
    let mut nginx = Nginx::start();
    for (name, content) in [
        ("fresh", "fresh content"),
        ("stale", "old content"),
        ("private", "for one"),
        ("cookie", "with one"),
    ] {
        nginx.put(name, content);
    }
    let server = serve(&nginx, &["--stale-if-error", "1h"]);
    let (miss, hit) = (curl(&server, "/fresh", &[]), curl(&server, "/fresh", &[]));
    assert!(
        has(&miss, &[" 200 ", "fwd=uri-miss; fwd-status=200; stored", "fresh content"]),
        "{miss}"
    );
    assert!(has(&hit, &[" 200 ", "underpass; hit\r\n", "\r\nage: ", "fresh content"]), "{hit}");
    assert_eq!(nginx.asked(), 1);
    let part = curl(&server, "/fresh", &["-r", "6-12"]);
    assert!(has(&part, &[" 206 ", "bytes 6-12/13", "\r\n\r\ncontent"]), "{part}");
    curl(&server, "/stale", &[]);
    let same = curl(&server, "/stale", &[]);
    assert!(has(&same, &["fwd=stale; fwd-status=304", "old content"]), "{same}");
    nginx.put("stale", "new content, longer");
    let new = curl(&server, "/stale", &[]);
    assert!(has(&new, &["fwd=stale; fwd-status=200", "new content, longer"]), "{new}");
    for (path, why) in [("/private", "private"), ("/cookie", "set-cookie")] {
        let relayed = curl(&server, path, &[]);
        assert!(has(&relayed, &[" 200 ", &format!("detail={why}")]), "{relayed}");
    }
    nginx.down();
    let hit = curl(&server, "/fresh", &[]);
    assert!(has(&hit, &[" 200 ", "underpass; hit\r\n"]), "{hit}");
    let late = curl(&server, "/private", &[]);
    assert!(has(&late, &[" 504 "]), "{late}");
    nginx.up();
    let again = curl(&server, "/private", &[]);
    assert!(has(&again, &[" 200 ", "for one"]), "{again}");
    server.signal(rustix::process::Signal::TERM);
    let (code, _, text) = server.end_of_text();
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_restart_finds_what_was_kept() {
    require!(Program("nginx"));
    let mut nginx = Nginx::start();
    nginx.put("fresh", "fresh content");
    let server = serve(&nginx, &[]);
    curl(&server, "/fresh", &[]);
    server.signal(rustix::process::Signal::TERM);
    drop(server.end());
    nginx.down();
    let server = serve(&nginx, &[]);
    let hit = curl(&server, "/fresh", &[]);
    assert!(has(&hit, &[" 200 ", "underpass; hit\r\n", "fresh content"]), "{hit}");
}

#[test]
fn a_server_that_ends_keeps_what_has_come() {
    let (origin, dir) = (Origin::start().unwrap(), tempfile::tempdir().unwrap());
    let object = origin.put("/a", Object::new(20_000_000).cache_control("max-age=600"));
    origin.fault(0, Fault::At(10_000_000, Stop::Stall));
    let server = serve_of(&origin.url(""), dir.path(), &["--grace", "1ms"]);
    let mut client = Command::new("curl");
    client.args(["-s", "-o", "/dev/null"]).arg(format!("http://{}/a", server.address()));
    let mut client = client.spawn().unwrap();
    let stalls = || (origin.stalled() == 1).then_some(());
    assert_eq!(wait::until(PATIENCE, stalls), Some(()));
    server.signal(rustix::process::Signal::TERM);
    drop(server.end());
    client.wait().unwrap();
    origin.heal();
    let server = serve_of(&origin.url(""), dir.path(), &[]);
    let url = format!("http://{}/a", server.address());
    let got = Command::new("curl").args(["-s", "--max-time", "20", &url]).output().unwrap().stdout;
    assert_eq!((got.len(), object.difference(0, &got)), (20_000_000, None));
    let asked = origin.requests();
    let range = asked.last().unwrap().field("range").unwrap_or_default().to_owned();
    let first = range.strip_prefix("bytes=").and_then(|range| range.split('-').next());
    let first: u64 = first.unwrap_or_default().parse().unwrap_or_default();
    assert!(first > 1_000_000, "{range}");
}

#[test]
fn what_is_wrong_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().join("cache");
    let cache = cache.to_str().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let (other, file) = (dir.path().to_str().unwrap(), dir.path().join("file"));
    let file = file.to_str().unwrap();
    for (flags, message) in [
        (&["--origin", "http://o"][..], "--cache"),
        (&["--origin", "ftp://o", "--cache", cache], "an origin is http://"),
        (&["--origin", "http://o/?a", "--cache", cache], "it has a query or a fragment"),
        (&["--origin", "http://o", "--cache", other], "is not a cache"),
        (&["--origin", "http://o", "--cache", file], "cannot make"),
        (&["--cache", cache], "--origin"),
        (&["--origin", "http://o", "--cache", cache, "/srv"], "cannot be used with"),
        (&["--origin", "http://o", "--cache", cache, "--upload", "**"], "cannot be used with"),
        (&["--origin", "http://o", "--cache", cache, "--archive", "tar"], "cannot be used with"),
        (&["--origin", "http://o", "--cache", cache, "--symlinks", "all"], "cannot be used with"),
        (&["--origin", "http://o", "--cache", cache, "--cache-size", "0"], "--cache-size"),
        (&["--origin", "http://o", "--cache", cache, "--warm", "/none"], "--warm names"),
    ] {
        let output = underpass(&[&["serve", "--listen", "0"], flags].concat());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(message), "{flags:?}: {text}");
    }
}

#[test]
fn a_reload_says_what_of_a_cache_waits_for_a_restart() {
    let (origin, dir) = (Origin::start().unwrap(), tempfile::tempdir().unwrap());
    let file = dir.path().join("settings.toml");
    let settings = |size: &str, timeout: &str| {
        let cache = dir.path().join("cache");
        let text = format!(
            "listen = 0\norigin = \"{}\"\ncache = \"{}\"\ncache-size = \"{size}\"\n\
             origin-timeout = \"{timeout}\"\n",
            origin.url(""),
            cache.display()
        );
        std::fs::write(&file, text).unwrap();
    };
    settings("64MiB", "30s");
    let mut server = Running::start(program().arg("serve").arg("--config").arg(&file));
    for (size, timeout, flags) in [
        ("64MiB", "5s", "--origin-timeout or --origin-connect-timeout"),
        ("32MiB", "30s", "--cache-size"),
    ] {
        settings(size, timeout);
        server.signal(rustix::process::Signal::HUP);
        let line = server.next_line();
        let ending =
            format!("cache stays as it was opened: restart the server for another {flags}\n");
        assert!(line.starts_with("warning: ") && line.ends_with(&ending), "{line}");
        let line = server.next_line();
        assert!(line.contains(" was read, and its sites are served"), "{line}");
    }
}
