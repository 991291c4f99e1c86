//! Files with siblings in a content coding.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use underpass_serve::{ErrorPages, SiteOptions};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use crate::fixture::Fixture;
use crate::nginx::nginx;

/// Status, head in lower case, and content.
struct Answer {
    status: String,
    head: String,
    content: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    fn is_varied(&self) -> bool {
        self.field("vary") == Some("accept-encoding")
    }
}

fn get(address: SocketAddr, path: &str, fields: &[&str]) -> Answer {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    write!(peer, "GET {path} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n").unwrap();
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    Answer { status: head[9..12].to_owned(), head, content: bytes[end + 4..].to_vec() }
}

fn serve(root: &Path) -> Fixture {
    let codings = "zstd,br,gzip".parse().unwrap();
    Fixture::of(SiteOptions { codings, ..SiteOptions::new(root.into()) })
}

/// `a.txt`, which is a thousand times `a`, with two siblings that only pretend to be coded.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.txt"), "a".repeat(1000)).unwrap();
    fs::write(dir.path().join("a.txt.gz"), "in gzip").unwrap();
    fs::write(dir.path().join("a.txt.zst"), "in zstd").unwrap();
    dir
}

#[test]
fn the_coding_is_chosen_and_the_rest_is_as_of_the_file() {
    let dir = tree();
    let server = serve(dir.path());
    let plain = get(server.address, "/a.txt", &[]);
    assert!(plain.field("content-encoding").is_none() && plain.content.len() == 1000);
    // A second from now they are strong.
    let tag = |answer: &Answer| answer.field("etag").unwrap().replace("w/", "");
    let mut tags = vec![tag(&plain)];
    for (accepted, coding) in [("gzip, br", "gzip"), ("gzip, zstd", "zstd"), ("x-gzip", "gzip")] {
        let answer = get(server.address, "/a.txt", &[&format!("Accept-Encoding: {accepted}")]);
        assert_eq!(answer.field("content-encoding"), Some(coding), "{accepted}");
        assert_eq!(answer.content, format!("in {coding}").as_bytes());
        assert_eq!(answer.field("content-length"), Some("7"));
        assert_eq!(answer.field("content-type"), plain.field("content-type"));
        tags.push(tag(&answer));
    }
    // RFC 9110 §8.8.3.3: each coding is another representation.
    assert!(tags[1] == tags[3] && tags[0] != tags[1] && tags[0] != tags[2] && tags[1] != tags[2]);
    // As a file by its own name it is not coded.
    let own = get(server.address, "/a.txt.gz", &["Accept-Encoding: gzip"]);
    assert_eq!(own.field("content-type"), Some("application/gzip"));
    assert!(own.field("content-encoding").is_none() && !own.is_varied());
}

#[test]
fn every_answer_about_a_file_with_siblings_says_what_it_varies_by() {
    let dir = tree();
    fs::write(dir.path().join("b.txt"), "b").unwrap();
    let server = serve(dir.path());
    let is_settled = || {
        let tag = get(server.address, "/a.txt", &["Accept-Encoding: gzip"]);
        let tag = tag.field("etag").unwrap().to_owned();
        tag.starts_with('"').then_some(tag)
    };
    // From then on the pair is one that is kept.
    let tag = wait::until(Duration::from_secs(10), is_settled).expect("a second passes");
    let same = format!("If-None-Match: {tag}");
    for (fields, status, content) in [
        (&["Accept-Encoding: gzip"][..], "200", "in gzip"),
        (&["Accept-Encoding: gzip", "Range: bytes=3-4"], "206", "gz"),
        (&["Accept-Encoding: gzip", &same], "304", ""),
        (&["Accept-Encoding: zstd", &same], "200", "in zstd"),
        (&["Accept-Encoding: gzip", "Range: bytes=99-"], "416", ""),
        (&["Range: bytes=99-99"], "206", "a"),
        (&["If-Match: \"x\""], "412", ""),
    ] {
        for _ in 0..2 {
            let answer = get(server.address, "/a.txt", fields);
            assert_eq!(answer.status, status, "{fields:?}");
            assert!(answer.is_varied(), "{fields:?}: {}", answer.head);
            assert!(content.is_empty() || answer.content == content.as_bytes(), "{fields:?}");
        }
    }
    let none = get(server.address, "/b.txt", &["Accept-Encoding: gzip"]);
    assert!(none.content == b"b" && !none.is_varied());
}

#[test]
fn an_index_has_siblings_by_its_own_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.html"), "<p>index</p>").unwrap();
    fs::write(dir.path().join("index.html.gz"), "in gzip").unwrap();
    let answer = get(serve(dir.path()).address, "/", &["Accept-Encoding: gzip"]);
    assert_eq!(answer.content, b"in gzip");
    assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn what_cannot_stand_for_the_file_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(dir.path().join("outside"), "in gzip").unwrap();
    let server = serve(&root);
    let now = SystemTime::now() - Duration::from_secs(60);
    let sibling = |name: &str, content: &str, later: i64| {
        fs::write(root.join(name), "a".repeat(100)).unwrap();
        let gz = root.join(format!("{name}.gz"));
        fs::write(&gz, content).unwrap();
        let by = Duration::from_nanos(later.unsigned_abs());
        let time = if later < 0 { now - by } else { now + by };
        File::options().append(true).open(root.join(name)).unwrap().set_modified(now).unwrap();
        File::options().append(true).open(&gz).unwrap().set_modified(time).unwrap();
    };
    sibling("same", "in gzip", 0);
    sibling("newer", "in gzip", 1);
    sibling("older", "in gzip", -1);
    sibling("larger", &"x".repeat(101), 1);
    sibling("equal", &"x".repeat(100), 1);
    sibling("nothing", "", 1);
    for name in ["directory", "out", "dangling"] {
        fs::write(root.join(name), "a".repeat(100)).unwrap();
    }
    fs::create_dir(root.join("directory.gz")).unwrap();
    symlink("../outside", root.join("out.gz")).unwrap();
    symlink("none", root.join("dangling.gz")).unwrap();
    for (name, is_used) in [
        ("same", true),
        ("newer", true),
        ("older", false),
        ("larger", false),
        ("equal", false),
        ("nothing", false),
        ("directory", false),
        ("out", false),
        ("dangling", false),
    ] {
        let answer = get(server.address, &format!("/{name}"), &["Accept-Encoding: gzip"]);
        assert_eq!(answer.status, "200", "{name}");
        assert_eq!(answer.content.starts_with(b"in gzip"), is_used, "{name}");
        assert_eq!(answer.is_varied(), is_used, "{name}");
    }
}

#[test]
fn siblings_that_come_go_and_change_are_seen() {
    let dir = tree();
    let server = serve(dir.path());
    let gz = dir.path().join("a.txt.gz");
    let sent = || get(server.address, "/a.txt", &["Accept-Encoding: gzip"]).content;
    let becomes = |content: &[u8]| {
        let is_so = || (sent() == content).then_some(());
        wait::until(Duration::from_secs(10), is_so).expect("it is looked up again");
    };
    let settled = || {
        let answer = get(server.address, "/a.txt", &["Accept-Encoding: gzip"]);
        answer.field("etag").unwrap().starts_with('"').then_some(())
    };
    wait::until(Duration::from_secs(10), settled).expect("a second passes");
    assert_eq!(sent(), b"in gzip");
    fs::write(dir.path().join("new"), "another").unwrap();
    fs::rename(dir.path().join("new"), &gz).unwrap();
    becomes(b"another");
    fs::remove_file(&gz).unwrap();
    becomes("a".repeat(1000).as_bytes());
    fs::write(&gz, "again").unwrap();
    becomes(b"again");
}

/// A pair that is replaced, the file before its sibling, while clients ask for both.
#[test]
fn no_answer_is_older_than_one_before_it_whatever_its_coding() {
    let dir = tempfile::tempdir().unwrap();
    let publish = |name: &str, content: &str| {
        // Of two files of one time neither is older, and the sibling before would stand for it.
        wait::until_file_times_move();
        fs::write(dir.path().join("new"), content).unwrap();
        fs::rename(dir.path().join("new"), dir.path().join(name)).unwrap();
    };
    let plain = |version: u32| format!("{version} {}", "a".repeat(1000));
    publish("a", &plain(0));
    publish("a.gz", "0 in gzip");
    let server = serve(dir.path());
    let (mut newest, mut by_tag) = (0, HashMap::new());
    for version in 0..4 {
        publish("a", &plain(version));
        let end = wait::until(Duration::from_secs(20), || {
            let answers = [&["Accept-Encoding: gzip"][..], &[]]
                .map(|fields| get(server.address, "/a", fields));
            for answer in answers {
                let content = String::from_utf8(answer.content.clone()).unwrap();
                let found: u32 = content.split(' ').next().unwrap().parse().unwrap();
                assert!(found >= newest, "{found} after {newest}");
                newest = found;
                let is_coded = answer.field("content-encoding").is_some();
                assert_eq!(is_coded, content.ends_with("in gzip"));
                let tag = answer.field("etag").unwrap().to_owned();
                let is_strong = tag.starts_with('"');
                let of_tag = by_tag.entry(tag).or_insert_with(|| content.clone());
                assert!(*of_tag == content || !is_strong, "two contents of one tag");
                if is_strong && found == version && !dir.path().join(version.to_string()).exists() {
                    publish("a.gz", &format!("{version} in gzip"));
                    publish(&version.to_string(), "");
                    return None;
                }
                if is_strong && found == version && is_coded {
                    return Some(());
                }
            }
            None
        });
        end.expect("the new pair is sent");
    }
    assert!(newest == 3);
}

#[test]
fn clients_decode_what_they_asked_for_and_nginx_chooses_the_same() {
    for program in ["curl", "gzip", "nginx"] {
        require!(Capability::Program(program));
    }
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..2000).map(|line| format!("line {line}\n")).collect();
    fs::write(dir.path().join("a.txt"), &text).unwrap();
    let packed = Command::new("gzip").args(["-k9"]).arg(dir.path().join("a.txt")).status();
    assert!(packed.unwrap().success());
    let server = serve(dir.path());
    let url = format!("http://{}/a.txt", server.address);
    let curl = |flags: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*"]).args(flags).arg(&url).output().unwrap().stdout
    };
    assert!(curl(&["--compressed"]) == text.as_bytes());
    assert!(curl(&["-H", "Accept-Encoding: gzip"]).starts_with(&[0x1f, 0x8b]));
    let peer = nginx(dir.path(), "gzip_static on; gzip_vary on;");
    for accepted in [
        "gzip",
        "GZIP",
        "deflate, gzip",
        "gzip;q=0.5",
        "gzip;q=0.001",
        "gzip;q=0",
        "gzip;q=0.000",
        "gzip; q=1.000",
        "*",
        "*;q=0",
        "deflate",
        "identity",
        "",
    ] {
        let field = format!("Accept-Encoding: {accepted}");
        let [ours, theirs] =
            [server.address, peer.address()].map(|address| get(address, "/a.txt", &[&field]));
        // nginx does not know the wildcard.
        if accepted != "*" {
            let coding = ours.field("content-encoding");
            assert_eq!(coding, theirs.field("content-encoding"), "{accepted:?}");
            assert!(ours.content == theirs.content, "{accepted:?}");
        }
        assert!(ours.is_varied() && theirs.is_varied(), "{accepted:?}: {}", theirs.head);
    }
}

#[test]
fn what_answers_for_another_path_has_its_own_siblings() {
    let dir = tempfile::tempdir().unwrap();
    for page in ["about.html", "index.html", "app.html", "404.html"] {
        fs::write(dir.path().join(page), page.repeat(100)).unwrap();
        fs::write(dir.path().join(format!("{page}.gz")), format!("{page} in gzip")).unwrap();
    }
    let mut site = SiteOptions::new(dir.path().into());
    site.codings = "gzip".parse().unwrap();
    site.lookup.clean_urls = true;
    site.lookup.fallback = Some("app.html".parse().unwrap());
    site.error_pages = ErrorPages::new(vec!["404 /404.html".parse().unwrap()]);
    let server = Fixture::of(site);
    let (html, gzip) = ("Accept: text/html", "Accept-Encoding: gzip");
    for (path, page, vary) in [
        ("/about", "about.html", &["accept-encoding"][..]),
        ("/", "index.html", &["accept-encoding"]),
        ("/none", "app.html", &["accept-encoding", "accept"]),
    ] {
        for (fields, coding) in [(&[html, gzip][..], Some("gzip")), (&[html], None)] {
            let answer = get(server.address, path, fields);
            assert_eq!(answer.status, "200", "{path}");
            assert_eq!(answer.field("content-encoding"), coding, "{path}");
            assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
            let lines = answer.head.lines().filter_map(|line| line.strip_prefix("vary: "));
            assert_eq!(lines.collect::<Vec<_>>(), vary, "{path}");
            let of_file = page.repeat(100);
            let content = coding.map_or(of_file, |_| format!("{page} in gzip"));
            assert_eq!(String::from_utf8(answer.content).unwrap(), content, "{path}");
        }
    }
    // An error page is sent as it is.
    let none = get(server.address, "/none", &[gzip]);
    assert_eq!((none.status.as_str(), none.content.len()), ("404", "404.html".len() * 100));
    assert!(none.field("content-encoding").is_none() && none.field("vary") == Some("accept"));
}
