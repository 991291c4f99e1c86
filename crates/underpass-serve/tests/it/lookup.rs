//! Which file answers for a target.

use std::fs;
use std::path::Path;

use underpass_serve::{Lookup, SiteOptions};

use crate::fixture::Fixture;

/// A server of `served` with other options than the default.
fn server(served: &Path, change: impl FnOnce(&mut SiteOptions)) -> Fixture {
    let mut site = SiteOptions::new(served.to_owned());
    change(&mut site);
    Fixture::of(site)
}

/// Status and content of the answer to a request with these fields.
fn get(server: &Fixture, target: &str, fields: &str) -> (u16, String) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n{fields}Connection: close\r\n\r\n");
    let text = String::from_utf8(server.exchange(&request)).unwrap();
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
        (server(served, |_| {}), server(served, |site| site.lookup = Lookup { hidden: true }));
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
