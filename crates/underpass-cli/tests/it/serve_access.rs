//! `underpass serve` with names and passwords: files that htpasswd and openssl make, curl as a
//! client, and what is told and not told.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use underpass_testkit::require;
use underpass_testkit::skip::Capability::Program;
use underpass_testkit::wait;

use crate::command::underpass;
use crate::running::{Running, program};

const PATIENCE: Duration = Duration::from_secs(20);

/// What a program prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn htpasswd(flags: &[&str], name: &str, password: &str) -> String {
    let line = output(Command::new("htpasswd").arg("-nb").args(flags).args([name, password]));
    line.trim_end().to_owned()
}

fn openssl(kind: &str, password: &str) -> String {
    output(Command::new("openssl").args(["passwd", kind, password])).trim_end().to_owned()
}

/// The status that curl gets, with this pair if there is one.
fn curl(server: &Running, path: &str, pair: Option<&str>) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--max-time", "20", "-o", "/dev/null"]);
    curl.args(["-w", "%{http_code}"]).arg(format!("http://{}{path}", server.address()));
    output(curl.args(pair.iter().flat_map(|pair| ["-u", *pair])))
}

/// A directory with a file in it, and a place for the names next to it.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("served")).unwrap();
    fs::write(dir.path().join("served/file"), "content").unwrap();
    let users = dir.path().join("users");
    (dir, users)
}

fn serve(dir: &Path, flags: &[&str]) -> Running {
    let mut command = program();
    command.arg("serve").arg(dir.join("served")).args(["--listen", "0"]).args(flags);
    Running::start(&mut command)
}

#[test]
fn curl_gets_in_with_what_htpasswd_and_openssl_have_hashed() {
    require!(Program("curl"));
    require!(Program("htpasswd"));
    require!(Program("openssl"));
    let (dir, users) = place();
    let lines = [
        htpasswd(&["-B"], "bcrypt", "one"),
        htpasswd(&["-B", "-C", "4"], "caf\u{e9}", "p\u{e4}ss:word"),
        htpasswd(&["-2"], "sha256", "three"),
        htpasswd(&["-5", "-r", "1000"], "sha512", "four"),
        format!("openssl:{}", openssl("-6", "five")),
    ];
    fs::write(&users, lines.join("\n")).unwrap();
    let given = format!("given:{}", openssl("-5", "six"));
    let flags = ["--auth-file", users.to_str().unwrap(), "--auth", &given];
    let server = serve(dir.path(), &flags);
    for pair in [
        "bcrypt:one",
        "caf\u{e9}:p\u{e4}ss:word",
        "sha256:three",
        "sha512:four",
        "openssl:five",
        "given:six",
    ] {
        for _ in 0..2 {
            assert_eq!(curl(&server, "/file", Some(pair)), "200", "{pair}");
        }
        assert_eq!(curl(&server, "/none", Some(pair)), "404", "{pair}");
        assert_eq!(curl(&server, "/file", Some(&format!("{pair}x"))), "401", "{pair}");
    }
    for pair in [None, Some("none:one"), Some("bcrypt:"), Some(":one"), Some("BCRYPT:one")] {
        assert_eq!(curl(&server, "/file", pair), "401", "{pair:?}");
    }
}

/// Confined, and with a file that is replaced, as editors do it.
#[test]
fn names_are_read_again_at_a_signal_and_stay_if_the_file_is_wrong() {
    require!(Program("curl"));
    require!(Program("htpasswd"));
    let (dir, users) = place();
    let write = |text: &str| {
        fs::write(dir.path().join("new"), text).unwrap();
        fs::rename(dir.path().join("new"), &users).unwrap();
    };
    write(&htpasswd(&["-B", "-C", "4"], "alice", "one"));
    let mut server = serve(dir.path(), &["--auth-file", users.to_str().unwrap()]);
    assert_eq!(curl(&server, "/file", Some("alice:one")), "200");
    write(&htpasswd(&["-B", "-C", "4"], "alice", "two"));
    assert_eq!(curl(&server, "/file", Some("alice:two")), "401", "not before the signal");
    server.signal(Signal::HUP);
    let is_read = || (curl(&server, "/file", Some("alice:two")) == "200").then_some(());
    wait::until(PATIENCE, is_read).expect("the new password is known");
    assert_eq!(curl(&server, "/file", Some("alice:one")), "401", "it was remembered");
    write("alice:secret");
    server.signal(Signal::HUP);
    let line = server.next_line();
    assert!(line.contains("the settings stay what they were: cannot use --auth: "), "{line}");
    assert!(line.contains("users, line 1: ") && !line.contains("secret"), "{line}");
    assert_eq!(curl(&server, "/file", Some("alice:two")), "200");
    server.signal(Signal::TERM);
    assert_eq!(server.end_of_text().2, "", "it was said once");
}

#[test]
fn what_protects_no_password_is_refused_at_the_start() {
    require!(Program("htpasswd"));
    require!(Program("openssl"));
    let (_dir, users) = place();
    for (line, reason) in [
        (htpasswd(&["-m"], "bob", "secret"), "an MD5 hash"),
        (htpasswd(&["-s"], "bob", "secret"), "an SHA-1 hash without salt"),
        (htpasswd(&["-d"], "bob", "secret"), "a DES hash of crypt(3), or plain text"),
        (format!("bob:{}", openssl("-1", "secret")), "an MD5 hash"),
        ("bob:secret".into(), "plain text"),
    ] {
        fs::write(&users, &line).unwrap();
        let flag = format!("--auth={line}");
        for flags in [&["--auth-file", users.to_str().unwrap()][..], &[&flag]] {
            for more in [&[][..], &["--check-config"]] {
                let output = underpass(&[&["serve", "--listen", "0"], flags, more].concat());
                let stderr = String::from_utf8(output.stderr).unwrap();
                assert!(stderr.contains(reason) && stderr.contains("'htpasswd -nBC 10 bob'"));
                assert!(!stderr.contains("secret") && !stderr.contains('$'), "{stderr}");
                assert_eq!(output.status.code(), Some(1));
            }
        }
    }
}

#[test]
fn passwords_that_cross_a_network_as_they_are_are_warned_of() {
    require!(Program("openssl"));
    let (dir, _) = place();
    let bob = format!("--auth=bob:{}", openssl("-6", "secret"));
    let warned = |listen: &str| {
        let mut command = program();
        command.arg("serve").arg(dir.path().join("served")).args(["--listen", listen, &bob]);
        let server = Running::start(&mut command);
        server.signal(Signal::TERM);
        server.end_of_text().2
    };
    let line = warned("0.0.0.0:0");
    assert!(line.starts_with("warning: passwords come to 0.0.0.0:"), "{line}");
    assert_eq!(warned("127.0.0.1:0"), "");
    assert_eq!(warned(&format!("unix:{}", dir.path().join("socket").display())), "");
}
