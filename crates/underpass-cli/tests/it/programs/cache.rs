//! nginx as a cache of another server, where Debian has it keep what it got.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;
use underpass_testkit::server::Server;

use crate::programs::client::fetch;
use crate::programs::judged::Expected;
use crate::programs::nginx::configured;
use crate::programs::site::{FILES, Site, address, content, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

/// The file of the cache that ends with what is in a file of the site.
fn kept(cache: &Path, name: &str) -> String {
    let files = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path());
    let mut of_it = files.filter(|path| fs::read(path).unwrap().ends_with(&content(name)));
    of_it.next().unwrap().display().to_string()
}

fn cached(lines: &str) -> Watched {
    let (site, recorded, address, behind) =
        (Site::new(), Recorded::new().unwrap(), address(), address());
    let cache = tempfile::tempdir_in("/var/cache").unwrap();
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", "--bind", "127.0.0.1", &behind.port().to_string()]);
    python.current_dir(site.root()).stdout(Stdio::null()).stderr(Stdio::null());
    let behind = Server::start(&mut python, behind).unwrap();
    let dir = cache.path().display();
    let lines = format!(
        "proxy_cache_path {dir} keys_zone=it:1m; proxy_cache it; proxy_cache_valid 1h;\n{lines}\n\
         server {{ listen {address}; location / {{ proxy_pass http://{}; }} }}",
        behind.address()
    );
    let other = crate::programs::site::address();
    let mut command = recorded.command("nginx");
    command.arg("-e").arg(site.path("log")).arg("-c").arg(configured(&site, other, "", &lines));
    let server = site.start(&mut command, address);
    fetch(&site, "http", address);
    drop(behind);
    watched(&recorded, server.id(), || {
        let bodies = fetch(&site, "http", address).into_iter().zip(FILES);
        bodies.map(|(body, (name, _))| Body { file: kept(cache.path(), name), ..body }).collect()
    })
}

#[test]
fn with_sendfile_it_lends_all() {
    require!(programs(&["nginx", "python3"]));
    Expected::of("nginx", "proxy_cache, sendfile on").judge(&cached("sendfile on;"));
}

#[test]
fn without_sendfile_it_copies_all() {
    require!(programs(&["nginx", "python3"]));
    Expected::of("nginx", "proxy_cache, sendfile off")
        .because("R1", "sendfile on;")
        .wrong(("what it reads of a kept head counts as sent", 5_100, "bytes"))
        .judge(&cached("sendfile off;"));
}
