//! Java: transferTo, a mapping a request, and streams.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::process::Command;

use underpass_testkit::kept::keep;
use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch_in_turns, get};
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::{Watched, watched};

/// The servers that are files here, compiled once.
const SOURCES: [(&str, &str); 2] = [
    ("Server.java", include_str!("peers/Server.java")),
    ("Secure.java", include_str!("peers/Secure.java")),
];

fn compiled() -> PathBuf {
    let mut hash = DefaultHasher::new();
    SOURCES.hash(&mut hash);
    let dir = keep("programs", &format!("java-{:x}", hash.finish()), |dir| {
        let mut javac = Command::new("javac");
        javac.current_dir(dir);
        for (name, source) in SOURCES {
            std::fs::write(dir.join(name), source)?;
            javac.arg(name);
        }
        let output = javac.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(io::Error::other(said)) }
    });
    dir.unwrap().canonicalize().unwrap()
}

/// A command that runs one of them, under strace.
fn java(recorded: &Recorded, class: &str) -> Command {
    let mut command = recorded.command("java");
    command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp"]).arg(compiled()).arg(class);
    command
}

fn served(way: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let mut command = java(&recorded, "Server");
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
    let mut command = java(&recorded, "Secure");
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
        .because("R0", "sees what is read from the start")
        .judge(&watched);
}

#[test]
fn transfer_to_lends_all() {
    require!(programs(&["java", "javac"]));
    Expected::of("Java", "transferTo").named("java").judge(&served("transferTo"));
}

#[test]
fn streams_copy_all() {
    require!(programs(&["java", "javac"]));
    let watched = served("streams");
    assert!(watched.truth.is_read);
    Expected::of("Java", "streams").named("java").because("R1", "transferTo").judge(&watched);
}

#[test]
fn a_mapping_of_one_request_is_copied_from_and_not_taken_for_that_of_another_file() {
    require!(programs(&["java", "javac"]));
    let watched = served("mapped");
    assert!(watched.truth.is_mapped && !watched.truth.is_read);
    Expected::of("Java", "mapped, a request each")
        .named("java")
        .because("R2", "sendfile")
        .judge(&watched);
}
