//! `openssl s_server -WWW`, which encrypts what it reads.

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::fetch;
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::watched;

#[test]
fn it_encrypts_in_its_own_memory() {
    require!(programs(&["openssl"]));
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let (key, certificate) = site.certificate();
    let mut command = recorded.command("openssl");
    command.args(["s_server", "-WWW", "-quiet", "-accept", &address.to_string(), "-key"]);
    command.arg(key).arg("-cert").arg(certificate);
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || fetch(&site, "https", address));
    assert!(watched.truth.is_read);
    Expected::of("OpenSSL", "s_server -WWW")
        .named("openssl")
        .because("R3", "kernel TLS")
        .judge(&watched);
}
