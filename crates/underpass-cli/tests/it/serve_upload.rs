//! `underpass serve --upload`: curl puts files, over TLS too, and a server that is killed leaves
//! nothing under their names.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use underpass_testkit::injected::Injected;
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::{Program, Strace};
use underpass_testkit::tls::Identity;
use underpass_testkit::wait;

use crate::command::underpass;
use crate::place::Place;
use crate::running::{Running, program};
use crate::serve_tls::Secured;

const PATIENCE: Duration = Duration::from_secs(20);

/// Of "password", by htpasswd.
const ALICE: &str = "--auth=alice:$2y$05$0.jqSv0sdwEFhDslrWutCe/qnWBM7Lq2ps5XDP/WR2D7C36g8KmUi";

const LARGE_BYTES: u64 = 48 << 20;

/// A directory to put files in, and one that is sent, next to it.
fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("large"), pattern(0..LARGE_BYTES)).unwrap();
    place
}

impl Place {
    fn taking(&self, flags: &[&str]) -> Running {
        Running::start(self.command("0").args(["--upload", "**"]).args(flags))
    }

    /// The same over TLS, and the path of its certificate.
    fn taking_over_tls(&self, flags: &[&str]) -> (Secured, String) {
        self.write("a", &Identity::new().unwrap());
        let server = self.secured(&["a"], &[&["--upload", "**", ALICE], flags].concat());
        (server, self.path("a.crt").to_str().unwrap().to_owned())
    }

    fn names(&self) -> String {
        let entries = fs::read_dir(self.path("served")).unwrap();
        let mut names: Vec<_> =
            entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    }

    fn is_whole(&self, name: &str) -> bool {
        let content = fs::read(self.path("served").join(name)).unwrap();
        content.len() as u64 == LARGE_BYTES && difference(&content, 0, LARGE_BYTES).is_none()
    }
}

/// The statuses that curl gets for sending a file, one after the other.
fn curl(file: &Path, url: &str, flags: &[&str]) -> String {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--max-time", "60", "-o", "/dev/null"]);
    curl.args(["-w", "%{http_code}", "-T"]).arg(file).arg(url).args(flags);
    let output = curl.output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Confined, as it is unless someone wants otherwise.
#[test]
fn curl_puts_a_file_in_place_if_it_has_the_password() {
    require!(Program("curl"));
    let place = place();
    let server = place.taking(&[ALICE, "--auth-path", "private/**"]);
    let (large, url) = (place.path("large"), format!("http://{}/", server.address()));
    assert_eq!(curl(&large, &url, &[]), "401");
    assert_eq!(curl(&large, &url, &["-u", "alice:passwort"]), "401");
    let pair = ["-u", "alice:password"];
    assert_eq!(curl(&large, &url, &pair), "201");
    assert!(place.is_whole("large"));
    assert_eq!(curl(&large, &url, &pair), "409", "none is replaced");
    // Content that is not counted beforehand, and a client that does not wait.
    let chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"];
    assert_eq!(curl(&large, &format!("{url}b"), &[&pair[..], &chunked].concat()), "201");
    assert!(place.is_whole("b"));
    let waits = ["--expect100-timeout", "20", "-H", "Expect: 100-continue"];
    assert_eq!(curl(&large, &format!("{url}c"), &[&pair[..], &waits].concat()), "201");
    // curl resumes by Content-Range, which must not be taken for the whole file.
    assert_eq!(curl(&large, &format!("{url}d"), &[&pair[..], &["-C", "5"]].concat()), "400");
    assert_eq!(place.names(), "b c large");
}

#[test]
fn files_are_put_over_tls_and_replaced_where_that_is_asked_for() {
    require!(Program("curl"));
    let place = place();
    let (server, certificate) = place.taking_over_tls(&["--upload-replace"]);
    let url = format!("https://localhost:{}/", server.port);
    let flags = ["-u", "alice:password", "--cacert", &certificate];
    for version in ["--http1.1", "--http2"] {
        fs::write(place.path("served/large"), "old").unwrap();
        let flags = [&flags[..], &[version]].concat();
        assert_eq!(curl(&place.path("large"), &url, &flags), "204", "{version}");
        assert!(place.is_whole("large"));
        assert_eq!(curl(&place.path("large"), &format!("{url}none/"), &flags), "409");
        assert_eq!(curl(&place.path("large"), &url, &flags[2..]), "401");
    }
    assert_eq!(place.names(), "large");
}

/// As docs/serve.md tells people to.
#[test]
fn curl_continues_an_upload_over_tls() {
    require!(Program("curl"));
    let place = place();
    let (server, certificate) = place.taking_over_tls(&[]);
    let origin = format!("https://localhost:{}", server.port);
    let half = usize::try_from(LARGE_BYTES / 2).unwrap();
    let content = pattern(0..LARGE_BYTES);
    for (name, content) in [("first", &content[..half]), ("second", &content[half..])] {
        fs::write(place.path(name), content).unwrap();
    }
    for version in ["--http1.1", "--http2"] {
        let ask = |arguments: &[&str]| {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--noproxy", "*", "--max-time", "60", version, "-D", "-"]);
            curl.args(["-u", "alice:password", "--cacert", &certificate]).args(arguments);
            String::from_utf8(curl.output().unwrap().stdout).unwrap()
        };
        let begin = ["-X", "PUT", "-H", "Upload-Complete: ?0"];
        let begun = ask(&[&begin[..], &[&format!("{origin}/{version}")]].concat());
        let at = begun.lines().find_map(|line| line.strip_prefix("location: ")).expect("a place");
        let url = format!("{origin}{at}");
        let append = |file: &str, offset: usize, complete: &str| {
            let (offset, file) = (format!("Upload-Offset: {offset}"), place.path(file));
            let complete = format!("Upload-Complete: {complete}");
            let fields = ["-H", "Content-Type: application/partial-upload", "-H", &offset];
            let rest = ["-H", &complete, "-X", "PATCH", "-T", file.to_str().unwrap(), &url];
            ask(&[&fields[..], &rest].concat())
        };
        let answer = append("first", 0, "?0");
        assert!(answer.contains(" 204"), "{version}: {answer}");
        let answer = ask(&["-I", &url]);
        assert!(answer.contains(&format!("upload-offset: {half}\r\n")), "{answer}");
        let answer = append("second", half, "?1");
        assert!(answer.contains(" 201"), "{version}: {answer}");
        assert!(place.is_whole(version));
        let mut curl = Command::new("curl");
        let curl = curl.args(["-sS", "--noproxy", "*", "-I", "--cacert", &certificate, &url]);
        let answer = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        assert!(answer.contains(" 401"), "the URL alone is not enough: {answer}");
    }
}

#[test]
fn a_server_that_is_killed_leaves_nothing_under_the_name_and_the_next_one_tidies_up() {
    let place = place();
    fs::write(place.path("served/a"), "old").unwrap();
    let flags = ["--upload-replace", "--upload-without-auth"];
    let server = place.taking(&flags);
    let mut client = TcpStream::connect(server.address()).unwrap();
    write!(client, "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n").unwrap();
    client.write_all(&[b'x'; 3_000_000]).unwrap();
    let part = || {
        let names = place.names();
        let name = names.split(' ').find(|name| name.starts_with(".underpass-upload-"))?;
        let path = place.path("served").join(name);
        (fs::metadata(&path).unwrap().len() > 1_000_000).then_some(path)
    };
    let part = wait::until(PATIENCE, part).expect("it is being written");
    server.signal(Signal::KILL);
    drop(server.end());
    assert_eq!(fs::read(place.path("served/a")).unwrap(), b"old");
    // Another server may be about to write to one that is new.
    let old = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&part).unwrap().set_modified(old).unwrap();
    let mut server = place.taking(&flags);
    let line = server.next_line();
    assert!(line.contains("1 parts of uploads that were cut short are removed"), "{line}");
    assert_eq!(place.names(), "a");
    let mut client = TcpStream::connect(server.address()).unwrap();
    write!(
        client,
        "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nnew"
    )
    .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert_eq!(fs::read(place.path("served/a")).unwrap(), b"new");
}

#[test]
fn a_stop_waits_for_an_upload_and_a_second_one_leaves_nothing() {
    let place = place();
    for (second, status) in [(false, Some("201")), (true, None)] {
        let server = place.taking(&["--upload-without-auth", "--grace", "off"]);
        let mut client = TcpStream::connect(server.address()).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = format!("/{second}");
        write!(client, "PUT {name} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc").unwrap();
        let has_part = || place.names().contains(".underpass-upload-").then_some(());
        wait::until(PATIENCE, has_part).expect("it is being written");
        server.signal(Signal::TERM);
        if second {
            let is_closed = || TcpStream::connect(server.address()).is_err().then_some(());
            wait::until(PATIENCE, is_closed).expect("it stops");
            server.signal(Signal::TERM);
        } else {
            client.write_all(b"def").unwrap();
        }
        let mut answer = String::new();
        let _reset = client.read_to_string(&mut answer);
        assert_eq!(answer.get(9..12), status, "{answer}");
        server.end();
        assert_eq!(place.names(), "false");
    }
    assert_eq!(fs::read(place.path("served/false")).unwrap(), b"abcdef");
}

/// The first fsync(2) of a thread is of the file, and the second of its directory.
#[test]
fn a_file_is_on_the_disk_before_it_has_its_name_and_that_before_the_answer() {
    require!(Program("curl"));
    require!(Strace);
    for (fault, is_there) in [("fsync:error=EIO:when=1", false), ("fsync:error=EIO:when=2", true)] {
        let place = place();
        let server = place.taking(&["--upload-without-auth"]);
        let url = format!("http://{}/", server.address());
        let faults = Injected::into(server.id(), fault).unwrap();
        assert_eq!(curl(&place.path("large"), &url, &[]), "500", "{fault}");
        drop(faults);
        let has_ended = || (!place.names().contains(".underpass")).then_some(());
        wait::until(PATIENCE, has_ended).expect("the hidden file goes");
        assert_eq!(place.names(), if is_there { "large" } else { "" }, "{fault}");
        assert!(!is_there || place.is_whole("large"));
    }
}

#[test]
fn a_reload_keeps_uploads_and_allows_none_that_the_sandbox_does_not() {
    let place = place();
    let settings = place.path("serve.toml");
    let served = place.path("served");
    let set = |more: &str| {
        let text = format!("directory = {served:?}\nupload-without-auth = true\n{more}\n");
        fs::write(&settings, text).unwrap();
    };
    let ask = |server: &Running, request: &str, content: &str| {
        let mut client = TcpStream::connect(server.address()).unwrap();
        let (len, close) = (content.len(), "Connection: close");
        write!(client, "{request}\r\nHost: x\r\n{close}\r\nContent-Length: {len}\r\n\r\n{content}")
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    };
    let serve = || {
        let mut command = program();
        let config = ["serve", "--listen", "0", "--config"];
        Running::start(command.args(config).arg(&settings))
    };
    let reload = |server: &mut Running, expected: &str| {
        server.signal(Signal::HUP);
        let line = server.next_line();
        assert!(line.contains(expected), "{line}");
    };
    set("upload = [\"in/**\"]");
    let mut server = serve();
    fs::create_dir(served.join("in")).unwrap();
    let begin = "PUT /in/a HTTP/1.1\r\nUpload-Complete: ?0";
    let answer = ask(&server, begin, "abc");
    let at = answer.split_once("location: ").expect("it has begun").1.split("\r\n").next().unwrap();
    set("upload = [\"in/*\"]");
    reload(&mut server, "was read, and its sites are served");
    let append = format!(
        "PATCH {at} HTTP/1.1\r\nUpload-Complete: ?1\r\nUpload-Offset: 3\r\nContent-Type: \
         application/partial-upload"
    );
    let answer = ask(&server, &append, "def");
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    assert_eq!(fs::read(served.join("in/a")).unwrap(), b"abcdef");
    drop(server);
    // One that began without uploads may not write.
    fs::write(&settings, format!("directory = {served:?}\n")).unwrap();
    let mut server = serve();
    set("upload = [\"in/**\"]");
    reload(&mut server, "the sandbox does not let files be put into");
    assert!(ask(&server, "PUT /in/b HTTP/1.1", "x").starts_with("HTTP/1.1 405 "));
}

#[test]
fn uploads_from_everyone_are_asked_for_by_name() {
    let output = underpass(&["serve", "--listen", "0", "--upload", "**"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("everyone could write") && stderr.contains("--upload-without-auth"));
    assert_eq!(output.status.code(), Some(1));
}
