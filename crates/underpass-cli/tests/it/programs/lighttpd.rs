//! lighttpd, which copies small files whatever it is told.

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::fetch;
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::{Watched, watched};

fn lighttpd(backend: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let text = format!(
        "server.document-root = \"{}\"\nserver.bind = \"{}\"\nserver.port = {}\n\
         server.network-backend = \"{backend}\"\n",
        site.root().display(),
        address.ip(),
        address.port()
    );
    let mut command = recorded.command("lighttpd");
    command.args(["-D", "-f"]).arg(site.write("lighttpd.conf", &text));
    let server = site.start(&mut command, address);
    let watched = watched(&recorded, server.id(), || fetch(&site, "http", address));
    assert!(watched.truth.is_read && !watched.truth.is_mapped);
    watched
}

#[test]
fn with_sendfile_it_copies_the_small_file_only() {
    require!(programs(&["lighttpd"]));
    Expected::of("lighttpd", "sendfile").because("R1", "a copy").judge(&lighttpd("sendfile"));
}

#[test]
fn with_writev_it_copies_all() {
    require!(programs(&["lighttpd"]));
    Expected::of("lighttpd", "writev").because("R1", "sendfile").judge(&lighttpd("writev"));
}
