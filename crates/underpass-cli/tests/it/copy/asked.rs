//! How servers are asked: again, by a proxy, with fields and credentials, and with which trust.

use std::path::Path;
use std::process::Command;

use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use super::http::nginx;
use super::scripted::Scripted;
use super::{assert_payload, command, failure, patterned, report, utf8};

const BUSY: &str = "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n";

fn whole(content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: {}\r\n\r\n{content}", content.len())
}

/// Runs it with more variables: exit code, standard output, standard error.
fn run(flags: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = command(&[&["-q"], flags].concat());
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_server_that_fails_is_asked_again_as_often_as_the_user_wants() {
    let limited = BUSY.replace("503 Busy", "429 Slow");
    let answers = [BUSY, "", &limited, &whole("underpass")];
    let server = Scripted::start(answers);
    let (code, got, said) = run(&["--retry", "3", &server.url("/f"), "-"], &[]);
    assert_eq!((code, got.as_str()), (Some(0), "underpass"), "{said}");
    let notes: Vec<_> =
        said.lines().filter_map(|line| line.split_once("; trying again in ")).collect();
    let waits: Vec<_> = notes.iter().map(|(_, wait)| *wait).collect();
    assert_eq!(waits, ["0ns (1 of 3)", "2s (2 of 3)", "0ns (3 of 3)"], "{said}");
    assert!(notes[0].0.ends_with("the server answered 503 Busy"), "{said}");
    for (retry, answers) in [("0", &[BUSY][..]), ("1", &[BUSY, BUSY])] {
        let server = Scripted::start(answers);
        let (code, _, said) = run(&["--retry", retry, &server.url("/f"), "-"], &[]);
        assert!(code == Some(1) && said.contains("/f: the server answered 503 Busy\n"), "{said}");
    }
    let late = BUSY.replace("After: 0", "After: 86400");
    for answer in [late.as_str(), "HTTP/1.1 404 None\r\n\r\n"] {
        let server = Scripted::start([answer, &whole("late")]);
        let (code, got, said) = run(&["--retry", "5", &server.url("/f"), "-"], &[]);
        assert_eq!((code, got.as_str()), (Some(1), ""), "{said}");
    }
}

#[test]
fn a_connection_that_breaks_off_is_continued_where_it_stopped() {
    let cut = "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nContent-Length: 9\r\n\r\nunde";
    let chunks =
        "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nunde\r\n5\r\n";
    let rest = "HTTP/1.1 206 Part\r\nETag: \"a\"\r\nContent-Range: bytes 4-8/9\r\n\
                Content-Length: 5\r\n\r\nrpass";
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    for begin in [cut, chunks] {
        for flags in [&[][..], &["--checksum", "sha256"]] {
            for sink in ["-", utf8(&to)] {
                let server = Scripted::start([begin, rest]);
                let url = server.url("/f");
                let all = [&["--retry", "1", &url, sink], flags].concat();
                let (code, got, said) = run(&all, &[]);
                assert_eq!(code, Some(0), "{said}");
                let got = if sink == "-" { got } else { std::fs::read_to_string(&to).unwrap() };
                assert_eq!(got, "underpass", "{said}");
                assert!(!server.asked().contains("Range"));
                let asked = server.asked();
                assert!(asked.contains("\r\nIf-Range: \"a\"\r\n"), "{asked}");
                assert!(asked.contains("\r\nRange: bytes=4-"), "{asked}");
            }
        }
    }
    // A weak validator does not tell versions apart, and without --retry nothing is asked again.
    for (begin, retry) in [(cut.replace("\"a\"", "W/\"a\""), "3"), (cut.to_owned(), "0")] {
        let server = Scripted::start([&begin, rest]);
        let (code, got, said) = run(&["--retry", retry, &server.url("/f"), "-"], &[]);
        assert_eq!((code, got.as_str()), (Some(1), "unde"), "{said}");
        assert!(said.contains("source ended after 4 of 9 bytes"), "{said}");
    }
}

#[test]
fn a_file_is_put_where_the_server_wants_it_and_again_if_the_server_fails() {
    let dir = tempfile::tempdir().unwrap();
    let from = dir.path().join("from");
    std::fs::write(&from, "underpass").unwrap();
    let done = "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n";
    let second = Scripted::start([done]);
    let moved = |status: &str, to: &str| {
        format!("HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
    };
    let answers = [moved("307 There", "/b"), BUSY.to_owned(), moved("308 Away", &second.url("/c"))];
    let first = Scripted::start(answers);
    let url = first.url("/a").replace("http://", "http://u:p@");
    let account = report(&["--retry", "1", "--header", "X: y", utf8(&from), &url]);
    assert_eq!(account["bytes"], 9);
    for path in ["/a", "/b", "/b"] {
        let asked = first.asked();
        assert!(asked.starts_with(&format!("PUT {path} ")) && asked.ends_with("\r\n\r\nunderpass"));
        assert!(asked.contains("Authorization: Basic dTpw\r\nX: y\r\n"), "{asked}");
    }
    let asked = second.asked();
    assert!(asked.starts_with("PUT /c ") && asked.ends_with("\r\n\r\nunderpass"), "{asked}");
    assert!(!asked.contains("Authorization") && !asked.contains("X: "), "{asked}");
    // 303 names the result, and a stream is gone when it has been sent.
    let other = Scripted::start([moved("303 See", "/b")]);
    let (code, _, said) = run(&[utf8(&from), &other.url("/a")], &[]);
    assert!(code == Some(1) && said.contains("the server answered 303 See"), "{said}");
    let stream = Scripted::start([moved("307 There", "/b")]);
    let (code, _, said) = run(&["-", &stream.url("/a")], &[]);
    let there = format!("redirects to {}; a stream cannot be sent twice", stream.url("/b"));
    assert!(code == Some(1) && said.contains(&there), "{said}");
    let endless = Scripted::start(vec![moved("307 There", "/a"); 11]);
    let (code, _, said) = run(&[utf8(&from), &endless.url("/a")], &[]);
    assert!(code == Some(1) && said.contains("redirects to"), "{said}");
}

#[test]
fn credentials_go_to_the_server_they_are_for_and_to_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let netrc = dir.path().join("netrc");
    std::fs::write(&netrc, "machine 127.0.0.1 login n password q\ndefault login d password e\n")
        .unwrap();
    let other = Scripted::start([whole("a"), whole("b")]);
    let there = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}\r\n\r\n",
        other.url("/x").replace("127.0.0.1", "localhost")
    );
    let here = "HTTP/1.1 302 Found\r\nLocation: /y\r\n\r\n";
    let server = Scripted::start([here, &there, here, &there]);
    let secret = format!("--netrc={}", utf8(&netrc));
    let named = server.url("/f").replace("http://", "http://u:p@");
    for (flags, basic) in [
        (
            &["--header", "Authorization: Bearer t", "--header", "Cookie: c", &named, "-"][..],
            "Bearer t",
        ),
        (&[&secret, &server.url("/f"), "-"], "Basic bjpx"),
    ] {
        let (code, _, said) = run(flags, &[]);
        assert_eq!(code, Some(0), "{said}");
        for path in ["/f", "/y"] {
            let asked = server.asked();
            assert!(asked.starts_with(&format!("GET {path} ")), "{asked}");
            assert_eq!(asked.matches("Authorization: ").count(), 1, "{asked}");
            assert!(asked.contains(&format!("\r\nAuthorization: {basic}\r\n")), "{asked}");
        }
        let asked = other.asked();
        assert!(!asked.contains("Authorization") && !asked.contains("Cookie"), "{asked}");
    }
    let refusing = Scripted::start(["HTTP/1.1 401 No\r\n\r\n"]);
    let named = refusing.url("/f").replace("http://", "http://u:hidden@");
    let (code, _, said) = run(&[&named, "-"], &[]);
    assert!(code == Some(1) && said.contains("; give a user and a password"), "{said}");
    assert!(!said.contains("hidden"), "{said}");
    let (code, said) = failure(&["--netrc=/none", &named, "-"]);
    assert!(code == Some(1) && said.contains("cannot read /none: No such file"), "{said}");
    for field in ["Range: bytes=0-", "no colon", "A: b\nC: d"] {
        assert_eq!(failure(&["--header", field, &named, "-"]).0, Some(2), "{field}");
    }
}

#[test]
fn a_proxy_is_asked_instead_unless_the_host_is_exempt() {
    let proxy = Scripted::start([whole("a"), "HTTP/1.1 407 Who\r\n\r\n".to_owned()]);
    let named = proxy.url("").replace("http://", "http://v:w@");
    let url = "http://example.invalid/f?q";
    let (code, got, said) = run(&[url, "-"], &[("http_proxy", &named)]);
    assert_eq!((code, got.as_str()), (Some(0), "a"), "{said}");
    let asked = proxy.asked();
    assert!(
        asked.starts_with("GET http://example.invalid/f?q HTTP/1.1\r\nHost: example.invalid\r\n")
    );
    assert!(asked.contains("\r\nProxy-Authorization: Basic djp3\r\n"), "{asked}");
    let (code, _, said) = run(&["https://example.invalid/f", "-"], &[("https_proxy", &named)]);
    let why = "answered 407 Who to CONNECT example.invalid:443";
    assert!(code == Some(1) && said.contains(why) && !said.contains("v:w"), "{said}");
    assert!(
        proxy
            .asked()
            .starts_with("CONNECT example.invalid:443 HTTP/1.1\r\nHost: example.invalid:443\r\n")
    );
    let (code, _, said) = run(&[url, "-"], &[("all_proxy", "socks5://127.0.0.1:9")]);
    assert!(code == Some(1) && said.contains("all_proxy names a proxy of socks5://"), "{said}");
    let direct = Scripted::start([whole("b")]);
    let exempt = [("http_proxy", "http://127.0.0.1:1"), ("no_proxy", "127.0.0.0/8")];
    assert_eq!(run(&[&direct.url("/"), "-"], &exempt).1, "b");
}

/// A certificate that signs itself and is an authority's, as `openssl req -x509` makes them.
fn certificate(directory: &Path, name: &str, days: &str) {
    let extensions = format!("subjectAltName={name}\nbasicConstraints=critical,CA:TRUE\n");
    std::fs::write(directory.join("extensions"), extensions).unwrap();
    for words in [
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout key.pem \
         -out request",
        &format!(
            "x509 -req -in request -signkey key.pem -days {days} -extfile extensions -out cert.pem"
        ),
    ] {
        let openssl =
            Command::new("openssl").current_dir(directory).args(words.split(' ')).output();
        assert!(openssl.unwrap().status.success(), "{words}");
    }
}

#[test]
fn a_certificate_that_signs_itself_is_trusted_if_it_is_named_and_fits() {
    require!(Capability::Program("nginx"));
    require!(Capability::Program("openssl"));
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("to");
    for (name, days, why) in [
        ("IP:127.0.0.1", "2", None),
        ("IP:127.0.0.2", "2", Some("certificate not valid for name")),
        ("IP:127.0.0.1", "-1", Some("Expired")),
    ] {
        certificate(dir.path(), name, days);
        let server = nginx(dir.path(), true);
        patterned(&dir.path().join("root"), "file", 100_000);
        let (url, cert) =
            (format!("https://{}/file", server.address()), dir.path().join("cert.pem"));
        let named = run(&["--cacert", utf8(&cert), &url, utf8(&to)], &[]);
        let by_variable = run(&[&url, utf8(&to)], &[("SSL_CERT_FILE", utf8(&cert))]);
        for (code, _, said) in [named, by_variable] {
            assert_eq!(code, Some(i32::from(why.is_some())), "{said}");
            assert!(said.contains(why.unwrap_or_default()), "{said}");
        }
        let (code, _, said) = run(&["--insecure", &url, utf8(&to)], &[]);
        assert_eq!(code, Some(0), "{said}");
        assert_payload(&to, 0, 100_000);
        let other = "/etc/ssl/certs/ca-certificates.crt";
        let (code, _, said) = run(&["--cacert", other, &url, utf8(&to)], &[]);
        let why =
            why.filter(|why| why.contains("Expired")).unwrap_or("its certificate signs itself; if");
        assert!(code == Some(1) && said.contains(why), "{said}");
        let (code, _, said) = run(&["--cacert", utf8(&to), &url, utf8(&to)], &[]);
        let why = format!("cannot take certificates from {}: ", utf8(&to));
        assert!(code == Some(1) && said.contains(&why), "{said}");
    }
}
