//! Java: transferTo, a mapping a request, and streams.

use std::path::PathBuf;
use std::process::Command;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch_in_turns, get};
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::{Watched, watched};

/// The server that is a file here, compiled as it starts.
fn java(way: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let source = site.write("Server.java", include_str!("peers/Server.java"));
    let mut command = recorded.command("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]).arg(source);
    command.args([way, &address.port().to_string()]);
    let server = site.start(&mut command, address);
    // The first request has it load what no later one needs.
    fetch_in_turns(&site, address);
    watched(&recorded, server.id(), || fetch_in_turns(&site, address))
}

/// A key and its certificate, as Java reads them.
fn store(site: &Site) -> PathBuf {
    let ((key, certificate), store) = (site.certificate(), site.path("store"));
    let mut openssl = Command::new("openssl");
    openssl.args(["pkcs12", "-export", "-passout", "pass:changeit", "-inkey"]).arg(key);
    openssl.arg("-in").arg(certificate).arg("-out").arg(&store);
    assert!(openssl.status().unwrap().success());
    store
}

/// Every Java program maps a file of figures about itself, which others may look at.
#[test]
fn what_it_makes_and_encrypts_is_not_of_the_figures_about_itself() {
    require!(programs(&["java", "javac", "openssl"]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let source = site.write("Secure.java", include_str!("peers/Secure.java"));
    let mut command = recorded.command("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]).arg(source);
    command.arg(store(&site)).arg(address.port().to_string());
    let server = site.start(&mut command, address);
    let ask = || {
        let got = get(&site, &format!("https://{address}/"), &[]);
        assert_eq!(got.content.len(), 1 << 22);
        Vec::new()
    };
    ask();
    let watched = watched(&recorded, server.id(), ask);
    Expected::of("Java", "HTTPS of made bytes")
        .named("java")
        .wrong(("all records are of the file that is mapped", 4_300_000))
        .judge(&watched);
}

#[test]
fn transfer_to_lends_all() {
    require!(programs(&["java", "javac"]));
    Expected::of("Java", "transferTo").named("java").judge(&java("transferTo"));
}

#[test]
fn streams_copy_all() {
    require!(programs(&["java", "javac"]));
    let watched = java("streams");
    assert!(watched.truth.is_read);
    Expected::of("Java", "streams").named("java").because("R1", "transferTo").judge(&watched);
}

#[test]
fn a_mapping_of_one_request_is_copied_from_and_not_taken_for_that_of_another_file() {
    require!(programs(&["java", "javac"]));
    let watched = java("mapped");
    assert!(watched.truth.is_mapped && !watched.truth.is_read);
    Expected::of("Java", "mapped, a request each")
        .named("java")
        .because("R2", "sendfile")
        .judge(&watched);
}
