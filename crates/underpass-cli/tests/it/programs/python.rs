//! Python: its own file server, and servers that map, lend and encrypt.

use std::net::SocketAddr;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch, fetch_in_turns, fetch_one};
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

pub(crate) fn python(
    arguments: impl Fn(&str) -> Vec<String>,
    ask: impl Fn(&Site, SocketAddr) -> Vec<Body>,
) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    site.certificate();
    site.write("server.py", include_str!("peers/server.py"));
    let mut command = recorded.command("python3");
    command.args(arguments(&address.port().to_string()));
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || ask(&site, address))
}

/// The server that is a file here.
pub(crate) fn own(way: &str, ask: impl Fn(&Site, SocketAddr) -> Vec<Body>) -> Watched {
    python(|port| ["../server.py", way, port].map(str::to_owned).into(), ask)
}

fn plainly(site: &Site, address: SocketAddr) -> Vec<Body> {
    fetch(site, "http", address)
}

#[test]
fn http_server_reads_and_writes() {
    require!(programs(&["python3"]));
    let arguments =
        |port: &str| ["-m", "http.server", "--bind", "127.0.0.1", port].map(str::to_owned).into();
    let watched = python(arguments, plainly);
    assert!(watched.truth.is_read);
    Expected::of("Python", "http.server")
        .named("python3")
        .because("R1", "socket.sendfile()")
        .judge(&watched);
}

#[test]
fn socket_sendfile_lends_all() {
    require!(programs(&["python3"]));
    let watched = own("sendfile", plainly);
    Expected::of("Python", "socket.sendfile").named("python3").judge(&watched);
}

#[test]
fn a_mapping_that_is_kept_is_copied_from() {
    require!(programs(&["python3"]));
    let watched = own("kept", plainly);
    assert!(!watched.truth.is_read);
    Expected::of("Python", "mmap, kept").named("python3").because("R2", "sendfile").judge(&watched);
}

#[test]
fn a_mapping_of_one_request_is_copied_from() {
    require!(programs(&["python3"]));
    let watched = own("mapped", fetch_in_turns);
    assert!(watched.truth.is_mapped && !watched.truth.is_read);
    Expected::of("Python", "mmap, a request each")
        .named("python3")
        .because("R2", "sendfile")
        .judge(&watched);
}

/// Three pieces a chunk, of which the second is of the mapping, and 64 a call.
#[test]
fn pieces_of_a_mapping_are_told_from_those_between_them() {
    require!(programs(&["python3"]));
    let watched = own("pieces", plainly);
    assert!(!watched.truth.is_read);
    Expected::of("Python", "mmap, 64 pieces a call")
        .named("python3")
        .because("R2", "sendfile")
        .judge(&watched);
}

#[test]
fn tls_over_a_mapping_is_encrypted_from_the_file() {
    require!(programs(&["python3"]));
    let watched =
        own("tls", |site, address| vec![fetch_one(site, "https", address, "large.bin", &[])]);
    assert!(watched.truth.is_mapped && !watched.truth.is_read);
    Expected::of("Python", "mmap, TLS")
        .named("python3")
        .because("R3", "kernel TLS")
        .judge(&watched);
}
