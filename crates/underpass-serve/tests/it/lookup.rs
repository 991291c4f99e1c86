//! Which file answers for a target.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use underpass_serve::{SiteOptions, Symlinks};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use crate::fixture::Fixture;
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
