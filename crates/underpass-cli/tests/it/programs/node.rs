//! Node, whose files are read by other threads than write to sockets.

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::fetch;
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::watched;

#[test]
fn a_stream_of_a_file_is_copied() {
    require!(programs(&["node"]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let source = site.write("server.js", include_str!("peers/server.js"));
    let mut command = recorded.command("node");
    command.arg(source).arg(address.port().to_string());
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || fetch(&site, "http", address));
    assert!(watched.truth.is_read);
    Expected::of("Node", "createReadStream")
        .named("node")
        .because("R1", "sendfile")
        .judge(&watched);
}
