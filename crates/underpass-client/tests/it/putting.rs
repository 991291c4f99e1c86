//! Content that is put, and what servers say to it.

use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use underpass::Source;
use underpass_client::{Ask, Client, ClientError, Condition, Field, Method, Proxies, Url};
use underpass_testkit::scripted::{CLOSE, Scripted};
use underpass_testkit::server::{Server, free_address};
use underpass_testkit::skip::Capability;
use underpass_testkit::strace::{self, Strace};
use underpass_testkit::tls::Identity;
use underpass_testkit::{payload, require, served, test_name};

use super::{interrupt, secured, trusting, url};

const LEN: u64 = 1_234_567;

fn patterned(directory: &Path) -> File {
    let path = directory.join("from");
    std::fs::write(&path, payload::pattern(0..LEN)).unwrap();
    File::open(path).unwrap()
}

/// More than the sockets between two ends hold.
pub(super) fn long(directory: &Path) -> File {
    let path = directory.join("long");
    File::create(&path).unwrap().set_len(1 << 30).unwrap();
    File::open(path).unwrap()
}

#[test]
fn a_range_of_a_file_and_bytes_are_put_with_their_condition_and_fields() {
    let answer = "HTTP/1.1 201 Created\r\nETag: \"b\"\r\nContent-Length: 2\r\n\r\nok";
    let server = Scripted::start([vec![answer], vec![answer]]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = patterned(dir.path());
    let (url, interrupt) = (url(&server, "/x?y"), interrupt());
    let field: Field = "X-Amz-Meta-A: 1".parse().unwrap();
    let parts = [(1000..LEN - 7, Condition::IfNoneMatch("*")), (0..0, Condition::IfMatch("\"a\""))];
    for (part, condition) in parts {
        let content = match part.start {
            0 => Source::bytes(payload::pattern(part.clone())),
            _ => Source::file(&file, part.clone()).unwrap(),
        };
        let fields = std::slice::from_ref(&field);
        let response = Client::default().put(&url, content, condition, fields, &interrupt).unwrap();
        assert_eq!((response.status, response.head.field("etag")), (201, Some("\"b\"")));
        let asked = server.asked();
        let len = part.end - part.start;
        let (name, tag) = match condition {
            Condition::IfMatch(tag) => ("If-Match", tag),
            Condition::IfNoneMatch(tag) => ("If-None-Match", tag),
            Condition::Always | Condition::IfRange(_) => panic!("{condition:?}"),
        };
        assert!(asked.head.starts_with("PUT /x?y HTTP/1.1\r\n"), "{}", asked.head);
        let end = format!(
            "\r\nX-Amz-Meta-A: 1\r\nConnection: close\r\nContent-Length: {len}\r\n\
             {name}: {tag}\r\n\r\n"
        );
        assert!(asked.head.ends_with(&end), "{}", asked.head);
        assert_eq!(payload::difference(&asked.content, part.start, len), None);
    }
}

#[test]
fn an_answer_that_comes_early_is_a_value_and_a_redirect_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let long = long(dir.path());
    let late = "HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n";
    let away = "HTTP/1.1 307 Away\r\nLocation: http://a.example/\r\n\r\n";
    let (url, interrupt) = (early(&[late, late, away], true), interrupt());
    let client = Client::default();
    for content in [Source::file(&long, ..).unwrap(), Source::bytes(vec![b'x'; 64 << 20])] {
        let response = client.put(&url, content, Condition::Always, &[], &interrupt).unwrap();
        assert_eq!(response.status, 412);
    }
    let content = Source::file(&long, ..).unwrap();
    let answer = client.put(&url, content, Condition::Always, &[], &interrupt);
    assert!(matches!(answer, Err(ClientError::Redirect { .. })), "{answer:?}");
}

/// A server that answers the beginning of each request and reads no more; it keeps the connections,
/// or closes them.
pub(super) fn early(answers: &[&'static str], keeps: bool) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = answers.to_vec();
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for answer in answers {
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut [0; 16]).unwrap();
            peer.write_all(answer.as_bytes()).unwrap();
            open.extend(keeps.then_some(peer));
        }
        std::thread::park();
    });
    Url::parse(&format!("http://{address}/")).unwrap()
}

#[test]
fn a_lost_connection_is_an_error_unless_the_server_has_said_why() {
    let dir = tempfile::tempdir().unwrap();
    let (long, interrupt) = (long(dir.path()), interrupt());
    let url = early(&["HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\n\r\n", ""], false);
    let put = || {
        let content = Source::file(&long, ..).unwrap();
        Client::default().put(&url, content, Condition::Always, &[], &interrupt)
    };
    assert_eq!(put().unwrap().status, 413);
    let error = put().unwrap_err();
    assert!(matches!(error, ClientError::Open { verb: "send to", .. }), "{error}");
    assert!(!error.is_unsent());
}

#[test]
fn what_could_not_be_sent_is_told_from_what_may_have_arrived() {
    let (address, interrupt) = (free_address().unwrap(), interrupt());
    let put = |client: &Client, url: &str| {
        let url = Url::parse(url).unwrap();
        client.put(&url, Source::bytes("x"), Condition::Always, &[], &interrupt).unwrap_err()
    };
    let client = Client::default();
    assert!(put(&client, &format!("http://{address}/")).is_unsent());
    let mut proxied = Client::default();
    let proxy = address.to_string();
    proxied.proxies = Proxies::of_environment(|name| (name == "all_proxy").then(|| proxy.clone()));
    assert!(put(&proxied, "http://a.example/").is_unsent());
    assert!(put(&proxied, "https://a.example/").is_unsent());
    let in_clear = Scripted::start([vec![CLOSE], vec!["", CLOSE]]).unwrap();
    assert!(put(&client, &format!("https://{}/", in_clear.address())).is_unsent());
    let silent = put(&client, &format!("http://{}/", in_clear.address()));
    assert!(!silent.is_unsent(), "{silent}");
}

#[test]
fn a_file_that_is_shorter_than_was_said_is_not_made_up_for() {
    let server = Scripted::start([vec!["HTTP/1.1 204 No\r\n\r\n"]]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (file, url, interrupt) = (patterned(dir.path()), url(&server, "/"), interrupt());
    let content = Source::file(&file, 0..LEN + 1).unwrap();
    let error =
        Client::default().put(&url, content, Condition::Always, &[], &interrupt).unwrap_err();
    let ClientError::Open { verb: "send to", source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof, "{source}");
    assert!(!server.is_asked());
}

#[test]
fn a_file_is_put_over_tls() {
    let identity = Identity::new().unwrap();
    let server = secured(&identity, [vec!["HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"]]);
    let dir = tempfile::tempdir().unwrap();
    let (file, interrupt) = (patterned(dir.path()), interrupt());
    let url = Url::parse(&format!("https://{}/", server.address())).unwrap();
    let content = Source::file(&file, ..).unwrap();
    let put =
        trusting(&identity, dir.path()).put(&url, content, Condition::Always, &[], &interrupt);
    assert_eq!(put.unwrap().status, 201);
    assert_eq!(payload::difference(&server.asked().content, 0, LEN), None);
}

#[test]
fn content_without_a_length_is_refused_before_anything_is_sent() {
    let server = Scripted::start([vec!["HTTP/1.1 204 No\r\n\r\n"]]).unwrap();
    let (url, interrupt) = (url(&server, "/"), interrupt());
    let (read, _write) = std::io::pipe().unwrap();
    let content = Source::stream(&read);
    let error =
        Client::default().put(&url, content, Condition::Always, &[], &interrupt).unwrap_err();
    assert!(error.to_string().contains("whose length is unknown"), "{error}");
    assert!(!server.is_asked());
}

#[test]
fn a_file_leaves_by_sendfile_and_no_byte_of_it_is_written() {
    if strace::is_inside() {
        let server = Scripted::start([vec!["HTTP/1.1 204 No\r\n\r\n"]]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (file, url, interrupt) = (patterned(dir.path()), url(&server, "/"), interrupt());
        let content = Source::file(&file, ..).unwrap();
        strace::mark();
        let put = Client::default().put(&url, content, Condition::Always, &[], &interrupt);
        strace::mark();
        assert_eq!(put.unwrap().status, 204);
        return;
    }
    require!(Capability::Strace);
    let trace = Strace::of_test(test_name!()).and_then(|strace| strace.run()).unwrap();
    trace.assert_success();
    assert_eq!(strace::bytes(trace.marked(), "sendfile"), LEN);
    let written = served::written(trace.marked());
    assert!(written < 4096, "{written} bytes by calls that copy");
}

/// Apache with a WebDAV place in `directory`, which is the one server of Debian's that keeps to the
/// conditions of a PUT.
fn apache(directory: &Path) -> Server {
    let address = free_address().unwrap();
    // As root it serves as another user, who must reach these.
    let set = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    set(directory, 0o711).unwrap();
    for name in ["root", "locks"] {
        std::fs::create_dir(directory.join(name)).unwrap();
        set(&directory.join(name), 0o777).unwrap();
    }
    let configuration = format!(
        "ServerRoot {d}\nServerName localhost\nListen {address}\nPidFile {d}/pid\n\
         ErrorLog {d}/log\n\
         LoadModule mpm_event_module {m}/mod_mpm_event.so\n\
         LoadModule authz_core_module {m}/mod_authz_core.so\n\
         LoadModule dav_module {m}/mod_dav.so\nLoadModule dav_fs_module {m}/mod_dav_fs.so\n\
         User www-data\nGroup www-data\nDocumentRoot {d}/root\nDavLockDB {d}/locks/db\n\
         <Directory {d}/root>\nDav On\nRequire all granted\n</Directory>\n",
        d = directory.display(),
        m = "/usr/lib/apache2/modules",
    );
    std::fs::write(directory.join("apache.conf"), configuration).unwrap();
    let mut apache = Command::new("apache2");
    apache.args(["-D", "FOREGROUND", "-f"]).arg(directory.join("apache.conf"));
    Server::start(apache.stdout(Stdio::null()).stderr(Stdio::null()), address).unwrap()
}

#[test]
fn apache_keeps_writers_apart_by_their_conditions() {
    require!(Capability::Program("apache2"));
    let dir = tempfile::tempdir().unwrap();
    let server = apache(dir.path());
    let url = Url::parse(&format!("http://{}/object", server.address())).unwrap();
    let (client, interrupt) = (Client::default(), interrupt());
    let file = patterned(dir.path());
    let put = |condition| {
        let content = Source::file(&file, ..).unwrap();
        client.put(&url, content, condition, &[], &interrupt).unwrap().status
    };
    assert_eq!(put(Condition::IfMatch("\"a\"")), 412);
    assert_eq!(put(Condition::IfNoneMatch("*")), 201);
    assert_eq!(put(Condition::IfNoneMatch("*")), 412);
    // The tag of a file that is younger than a second is weak, and matches nothing.
    let object = File::open(dir.path().join("root/object")).unwrap();
    object.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    let head = client.ask(&Ask::new(Method::Head, &url), &interrupt).unwrap();
    let tag = head.head.field("etag").unwrap().to_owned();
    assert_eq!(put(Condition::IfMatch("\"a\"")), 412);
    assert_eq!(put(Condition::IfMatch(&tag)), 204);
    let arrived = std::fs::read(dir.path().join("root/object")).unwrap();
    assert_eq!(payload::difference(&arrived, 0, LEN), None);
}
