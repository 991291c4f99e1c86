//! Which file answers for a target.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use underpass_serve::upload::Upload;
use underpass_serve::{
    Archives, ErrorPages, FilePath, FixedStatuses, Redirects, SiteOptions, Symlinks,
};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, field};
use crate::nginx::nginx;

/// A server of `served` with other options than the default.
fn server(served: &Path, change: impl FnOnce(&mut SiteOptions)) -> Fixture {
    let mut site = SiteOptions::new(served.to_owned());
    change(&mut site);
    Fixture::of(site)
}

/// Status and content of the answer to a request with these fields.
fn get(server: &Fixture, target: &str, fields: &str) -> (u16, String) {
    ask(server.address, target, fields)
}

/// The same from any server.
fn ask(server: SocketAddr, target: &str, fields: &str) -> (u16, String) {
    let mut peer = TcpStream::connect(server).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(peer, "GET {target} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    peer.read_to_string(&mut text).unwrap();
    let (head, content) = text.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), content.to_owned())
}

#[test]
fn a_path_that_has_a_status_is_answered_with_it_whatever_is_there() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["seen", "gone", "closed.html"] {
        fs::write(dir.path().join(file), file).unwrap();
    }
    let server = server(dir.path(), |site| {
        let statuses = ["/gone 410", "/seen 503"].map(|status| status.parse().unwrap());
        site.stations.statuses = FixedStatuses::new(statuses.into());
        let page = "503 /closed.html".parse().unwrap();
        site.error_pages = ErrorPages::new(vec![page]);
        site.lookup.index = vec!["seen".parse().unwrap()];
        let everywhere = vec!["**".parse().unwrap()];
        site.stations.upload = Some(Arc::new(Upload::new(everywhere, 100, true)));
    });
    let close = "Connection: close\r\n";
    for _ in 0..2 {
        assert_eq!(get(&server, "/gone", "").0, 410);
        assert_eq!(get(&server, "/g%6fne?a", "").0, 410);
        assert_eq!(get(&server, "/seen", ""), (503, "closed.html".into()));
        assert_eq!(get(&server, "/", "").0, 503, "its index page is");
        assert_eq!(get(&server, "/closed.html", "").0, 200);
    }
    for (path, status) in [("gone", "410"), ("new", "201")] {
        let fields = format!("Host: x\r\nContent-Length: 0\r\n{close}");
        let answer = server.answers(&format!("PUT /{path} HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(&answer[9..12], status, "{path}");
    }
    let request = format!("HEAD /gone HTTP/1.1\r\nHost: x\r\n{close}\r\n");
    assert!(server.answers(&request).starts_with("HTTP/1.1 410 Gone\r\n"));
}

#[test]
fn what_a_pattern_hides_is_neither_served_nor_listed_nor_in_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    let served = dir.path();
    for file in ["seen", "a.bak", "d/a.bak", "d/seen", "node_modules/x", "seen.gz"] {
        fs::create_dir_all(served.join(file).parent().unwrap()).unwrap();
        fs::write(served.join(file), file).unwrap();
    }
    let server = server(served, |site| {
        let hide = ["*.bak", "node_modules"].map(|pattern| pattern.parse().unwrap());
        site.lookup.hide = hide.into();
        site.archives = Some(Archives::new("tar".parse().unwrap(), None));
    });
    for (target, is_served) in [
        ("/seen", true),
        ("/d/seen", true),
        ("/a.bak", false),
        ("/a%2ebak", false),
        ("/d/a.bak", false),
        ("/d/../node_modules/x", false),
        ("/node_modules", false),
        ("/node_modules/", false),
    ] {
        for _ in 0..2 {
            assert_eq!(get(&server, target, "").0 == 200, is_served, "{target}");
        }
    }
    for target in ["/", "/d/", "/?json", "/?archive=tar", "/d/?archive=tar"] {
        let (status, content) = get(&server, target, "");
        assert_eq!(status, 200, "{target}");
        assert!(content.contains("seen"), "{target}: {content}");
        for hidden in ["bak", "node_modules"] {
            assert!(!content.contains(hidden), "{target}: {content}");
        }
    }
}

#[test]
fn hidden_files_are_served_on_demand_only() {
    let dir = tempfile::tempdir().unwrap();
    let served = dir.path();
    for file in [".env", ".git/config", "a/.b/c", ".well-known/security.txt", "seen"] {
        fs::create_dir_all(served.join(file).parent().unwrap()).unwrap();
        fs::write(served.join(file), file).unwrap();
    }
    let (default, asked) =
        (server(served, |_| {}), server(served, |site| site.lookup.hidden = true));
    for (target, is_served) in [
        ("/.env", false),
        ("/%2eenv", false),
        ("/%2Egit/config", false),
        ("/a/../.git/config", false),
        ("/.git", false),
        ("/.git/", false),
        ("/a/.b/c", false),
        ("/.well-known/security.txt", true),
        ("/.well-known", true),
        ("/.well-known/", true),
        ("/seen", true),
    ] {
        // A kept file must not be found by another way.
        for _ in 0..2 {
            assert_eq!(get(&default, target, "").0 != 404, is_served, "{target}");
            assert_ne!(get(&asked, target, "").0, 404, "{target}");
        }
    }
    let page = get(&default, "/", "").1;
    assert!(page.contains(".well-known") && !page.contains(".env"), "{page}");
    assert!(get(&asked, "/", "").1.contains(".env"));
}

/// nginx says 403 where a link is not followed, and 404 is said here.
#[test]
fn links_are_followed_as_nginx_follows_them() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    let served = dir.path().join("served");
    for directory in ["served/real", "outside"] {
        fs::create_dir_all(dir.path().join(directory)).unwrap();
        fs::write(dir.path().join(directory).join("f"), directory).unwrap();
    }
    for (link, target) in [
        ("relative", PathBuf::from("real")),
        ("absolute", served.join("real")),
        ("out", "../outside".into()),
        ("out-absolute", dir.path().join("outside")),
        ("file", "real/f".into()),
        ("nowhere", "real/none".into()),
    ] {
        symlink(target, served.join(link)).unwrap();
    }
    for (symlinks, directive) in [
        (Symlinks::None, "disable_symlinks on from=$document_root;"),
        (Symlinks::All, "disable_symlinks off;"),
    ] {
        let (ours, nginx) =
            (server(&served, |site| site.lookup.symlinks = symlinks), nginx(&served, directive));
        for target in [
            "/real/f",
            "/relative/f",
            "/absolute/f",
            "/out/f",
            "/out-absolute/f",
            "/file",
            "/nowhere",
            "/real/../file",
        ] {
            let (ours, theirs) = (get(&ours, target, ""), ask(nginx.address(), target, ""));
            if theirs.0 == 200 {
                assert_eq!(ours, theirs, "{symlinks} {target}");
            } else {
                assert_eq!(ours.0, 404, "{symlinks} {target}: {}", theirs.0);
            }
        }
    }
}

/// Files whose content is their path.
fn files(dir: &Path, files: &[&str]) {
    for file in files {
        fs::create_dir_all(dir.join(file).parent().unwrap()).unwrap();
        fs::write(dir.join(file), file).unwrap();
    }
}

fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

/// nginx's `try_files` has the same order; what it lists or redirects is this server's own.
#[test]
fn index_files_and_clean_urls_as_with_nginx() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    files(
        dir.path(),
        &[
            "about.html",
            "both.html",
            "both/index.htm",
            "two/index.html",
            "two/index.htm",
            "dir/f",
            "a.b",
            "a.b.html",
            "caf\u{e9}.html",
            "deep/page.html",
        ],
    );
    let ours = server(dir.path(), |site| {
        site.lookup.index = vec![path("index.html"), path("index.htm")];
        site.lookup.clean_urls = true;
    });
    let order = "index index.html index.htm; try_files $uri $uri.html $uri/ =404;";
    let nginx = nginx(dir.path(), order);
    for (target, content) in [
        ("/about", Some("about.html")),
        ("/about.html", Some("about.html")),
        ("/about/", None),
        ("/both", Some("both.html")),
        ("/both/", Some("both/index.htm")),
        ("/two/", Some("two/index.html")),
        ("/a.b", Some("a.b")),
        ("/a.b.html", Some("a.b.html")),
        ("/caf%C3%A9", Some("caf\u{e9}.html")),
        ("/deep/./page?q", Some("deep/page.html")),
        ("/deep/none", None),
    ] {
        let got = get(&ours, target, "");
        assert_eq!(got.0, ask(nginx.address(), target, "").0, "{target}");
        match content {
            Some(content) => assert_eq!(got, (200, content.into()), "{target}"),
            None => assert_eq!(got.0, 404, "{target}"),
        }
    }
    // nginx says 301, or 403 where it lists nothing.
    assert_eq!(get(&ours, "/dir", "").0, 308);
    assert!(get(&ours, "/dir/", "").1.contains("href=\"f\""));
    let head = ours.answers("HEAD /about HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(field(&head, "content-type"), "text/html; charset=utf-8");
}

#[test]
fn a_page_stands_in_where_nothing_is_for_who_asks_for_one() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path(), &["app/index.html", "app.js", ".env", "dir/f"]);
    let ours = server(dir.path(), |site| site.lookup.fallback = Some(path("/app/index.html")));
    let html = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for (target, accept, answer) in [
        ("/route/of/it", html, (200, "app/index.html")),
        ("/route/", html, (200, "app/index.html")),
        ("/a%2Fb", html, (200, "app/index.html")),
        ("/app.js", html, (200, "app.js")),
        ("/dir", html, (308, "308 ")),
        ("/none.js", "Accept: */*\r\n", (404, "404 ")),
        ("/none.js", "", (404, "404 ")),
        ("/route", "Accept: text/html;q=0\r\n", (404, "404 ")),
        ("/.env", html, (404, "404 ")),
        ("/%00", html, (400, "400 ")),
    ] {
        for _ in 0..2 {
            let (status, content) = get(&ours, target, accept);
            assert_eq!(status, answer.0, "{target} {accept}");
            assert!(content.starts_with(answer.1), "{target} {accept}: {content}");
        }
    }
    let request = |method: &str, target: &str, fields: &str| request(&ours, method, target, fields);
    let (page, none) = (request("GET", "/route", html), request("GET", "/route", ""));
    assert_eq!((field(&page, "vary"), field(&none, "vary")), ("Accept", "Accept"));
    assert!(!request("GET", "/app.js", html).contains("vary: "));
    let etag = field(&page, "etag");
    let again = request("GET", "/other", &format!("{html}If-None-Match: {etag}\r\n"));
    assert!(again.starts_with("HTTP/1.1 304 "), "{again}");
    assert_eq!(field(&again, "vary"), "Accept");
    assert!(request("HEAD", "/route", html).ends_with("\r\n\r\n"));
    fs::remove_file(dir.path().join("app/index.html")).unwrap();
    let gone = || (get(&ours, "/route", html).0 == 404).then_some(());
    wait::until(Duration::from_secs(20), gone).expect("a fallback that is not there is a 404");
}

fn request(server: &Fixture, method: &str, target: &str, fields: &str) -> String {
    server.answers(&format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n"
    ))
}

#[test]
fn errors_have_the_pages_of_the_site() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path(), &[".errors/404.html", "416.html", "405.txt", "412.html", "f"]);
    fs::create_dir(dir.path().join("directory")).unwrap();
    let pages = [
        "404 /.errors/404.html",
        "405 405.txt",
        "412 /412.html",
        "416 /416.html",
        "400 /directory",
    ];
    let pages = ErrorPages::new(pages.iter().map(|page| page.parse().unwrap()).collect());
    let ours = server(dir.path(), |site| site.error_pages = pages);
    for _ in 0..2 {
        let answer = request(&ours, "GET", "/none", "If-None-Match: *\r\nRange: bytes=0-1\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n.errors/404.html"));
        assert_eq!(field(&answer, "content-type"), "text/html; charset=utf-8");
        assert_eq!(field(&answer, "content-length"), "16");
        for name in ["etag: ", "last-modified: ", "accept-ranges: "] {
            assert!(!answer.contains(name), "{answer}");
        }
        let own = request(&ours, "GET", "/.errors/404.html", "");
        assert!(own.starts_with("HTTP/1.1 404 "), "the page itself is hidden: {own}");
        let answer = request(&ours, "HEAD", "/none", "");
        assert!(answer.starts_with("HTTP/1.1 404 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(field(&answer, "content-length"), "16");
        let answer = request(&ours, "POST", "/f", "");
        assert!(answer.starts_with("HTTP/1.1 405 ") && answer.ends_with("405.txt"), "{answer}");
        assert!(field(&answer, "allow").contains("GET"));
        let answer = request(&ours, "GET", "/f", "If-Match: \"x\"\r\n");
        assert!(answer.starts_with("HTTP/1.1 412 ") && answer.ends_with("412.html"), "{answer}");
        // With a directory in its place, the text.
        let answer = request(&ours, "GET", "/%zz", "");
        assert!(answer.ends_with(
            "\r\n\r\n400 Bad Request\nThe request is malformed, or has not one valid Host field.\n"
        ));
        let is_settled = || request(&ours, "HEAD", "/f", "").contains("etag: \"").then_some(());
        wait::until(Duration::from_secs(20), is_settled).expect("a second passes");
    }
    // A part is refused of a file whose state is known.
    let answer = request(&ours, "GET", "/f", "Range: bytes=9-\r\n");
    assert!(answer.starts_with("HTTP/1.1 416 ") && answer.ends_with("416.html"), "{answer}");
    assert_eq!(field(&answer, "content-range"), "bytes */1");
}

#[test]
fn error_pages_keep_the_status_as_with_nginx() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    files(dir.path(), &["404.html", "f"]);
    let pages = ErrorPages::new(vec!["404 /404.html".parse().unwrap()]);
    let ours = server(dir.path(), |site| site.error_pages = pages);
    let nginx = nginx(dir.path(), "error_page 404 /404.html;");
    for (target, fields) in [
        ("/none", ""),
        ("/none", "If-None-Match: *\r\n"),
        ("/none/", "Range: bytes=0-0\r\n"),
        ("/f", ""),
        ("/404.html", ""),
    ] {
        assert_eq!(
            get(&ours, target, fields),
            ask(nginx.address(), target, fields),
            "{target} {fields}"
        );
    }
}

#[test]
fn redirects_come_before_files_and_methods_before_redirects() {
    let dir = tempfile::tempdir().unwrap();
    files(dir.path(), &["old/f", "f"]);
    let rules = ["/old/* /new/:splat 302", "/.git/* https://example.org/"];
    let rules = Redirects::new(rules.iter().map(|rule| rule.parse().unwrap()).collect());
    let ours = server(dir.path(), |site| site.stations.redirects = rules);
    for (target, status, location) in [
        ("/old/f?a=b", "302", Some("/new/f?a=b")),
        ("//old//f", "302", Some("/new/f")),
        ("/old/..//%2e%2e//f", "200", None),
        ("/old/%0d%0aX:y", "302", Some("/new/%0D%0AX%3Ay")),
        ("/.git/config", "301", Some("https://example.org/")),
        ("/f", "200", None),
        ("/old/%zz", "400", None),
    ] {
        let answer = request(&ours, "GET", target, "");
        assert_eq!(&answer[9..12], status, "{target}");
        let found = answer.contains("\r\nlocation: ").then(|| field(&answer, "location"));
        assert_eq!(found, location, "{target}");
    }
    let head = request(&ours, "HEAD", "/old/f", "");
    assert!(head.starts_with("HTTP/1.1 302 Found\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(request(&ours, "POST", "/old/f", "").starts_with("HTTP/1.1 405 "));
}
