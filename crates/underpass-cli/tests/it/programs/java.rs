//! Java: transferTo, a mapping a request, and streams.

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::fetch_in_turns;
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
