//! Go's file server as it is, with a wrapper that hides `ReaderFrom`, with gzip; and Caddy.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use underpass_testkit::kept::keep;
use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch, fetch_compressed};
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

const SOURCE: &str = include_str!("peers/server.go");

/// The server that is a file here, compiled once.
fn built() -> PathBuf {
    let mut hash = DefaultHasher::new();
    SOURCE.hash(&mut hash);
    let name = format!("go-{:x}", hash.finish());
    let dir = keep("programs", &name, |dir| {
        std::fs::write(dir.join("server.go"), SOURCE)?;
        let mut go = Command::new("go");
        let output = go.args(["build", "server.go"]).current_dir(dir).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(io::Error::other(said)) }
    });
    dir.unwrap().canonicalize().unwrap().join("server")
}

fn go(way: &str, ask: impl Fn(&Site, SocketAddr) -> Vec<Body>) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let mut command = recorded.command(built().to_str().unwrap());
    command.args([way, &address.to_string()]);
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || ask(&site, address))
}

fn plainly(site: &Site, address: SocketAddr) -> Vec<Body> {
    fetch(site, "http", address)
}

/// Of each file 512 bytes are read, to tell its type, and sent. That is too little to tell of.
#[test]
fn serve_file_lends_all_but_what_it_sniffs() {
    require!(programs(&["go"]));
    let watched = go("plain", plainly);
    assert_eq!(watched.truth.copied(), 3 * 512);
    Expected::of("Go", "http.ServeFile").named("server").judge(&watched);
}

#[test]
fn a_wrapper_hides_reader_from_and_all_is_copied() {
    require!(programs(&["go"]));
    let watched = go("wrapped", plainly);
    assert!(watched.truth.is_read);
    Expected::of("Go", "without ReaderFrom")
        .named("server")
        .because("R1", "hides the ReadFrom")
        .judge(&watched);
}

#[test]
fn with_gzip_it_sends_less_than_it_reads() {
    require!(programs(&["go"]));
    let watched = go("gzip", fetch_compressed);
    assert!(watched.truth.is_read && watched.truth.is_transformed);
    Expected::of("Go", "gzip").named("server").because("R4", "beforehand").judge(&watched);
}

#[test]
fn caddy_lends_all_but_what_it_sniffs() {
    require!(programs(&["caddy"]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let text = format!(
        "{{\nadmin off\nauto_https off\n}}\nhttp://{address} {{\nbind {}\nroot * {}\n\
         file_server\n}}\n",
        address.ip(),
        site.root().display()
    );
    let mut command = recorded.command("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]);
    command.arg(site.write("Caddyfile", &text)).env("HOME", site.path(""));
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || plainly(&site, address));
    Expected::of("Caddy", "file_server").named("caddy").judge(&watched);
}
