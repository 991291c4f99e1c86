//! This workspace's own server, in plain and with TLS.

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch, fetch_by_http2};
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::watched;

#[test]
fn it_copies_the_small_file_only() {
    require!(programs(&[]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let mut command = recorded.command(env!("CARGO_BIN_EXE_underpass"));
    command.args(["serve", "--listen", &address.to_string()]).arg(site.root());
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || fetch(&site, "http", address));
    Expected::of("underpass", "serve").because("R1", "a copy").judge(&watched);
}

#[test]
fn over_http_2_it_copies_all() {
    require!(programs(&[]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let mut command = recorded.command(env!("CARGO_BIN_EXE_underpass"));
    command.args(["serve", "--listen", &address.to_string()]).arg(site.root());
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || fetch_by_http2(&site, address));
    Expected::of("underpass", "serve, HTTP/2").because("R1", "a copy").judge(&watched);
}

#[test]
fn with_tls_it_encrypts_where_the_kernel_cannot() {
    require!(programs(&[]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let (key, certificate) = site.certificate();
    let mut command = recorded.command(env!("CARGO_BIN_EXE_underpass"));
    command.args(["serve", "--listen", &address.to_string(), "--tls-key"]).arg(key);
    command.arg("--tls-cert").arg(certificate).arg(site.root());
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || fetch(&site, "https", address));
    Expected::of("underpass", "serve, TLS").because("R3", "kernel TLS").judge(&watched);
}
