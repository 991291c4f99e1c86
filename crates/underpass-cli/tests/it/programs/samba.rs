//! Samba by sendfile, by its own reads, and by those that it has other threads make.

use std::net::SocketAddr;
use std::process::Command;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::judged::{Expected, Known};
use crate::programs::site::{FILES, Site, address, content, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

const CONFIGURATION: Known =
    ("its configuration, read anew by a session, counts as sent", 720, "bytes");

/// Gets all files on one connection.
fn get(site: &Site, address: SocketAddr) -> Vec<Body> {
    let into = tempfile::tempdir().unwrap();
    let commands = FILES.map(|(name, _)| format!("get {name};")).concat();
    let mut client = Command::new("smbclient");
    client.current_dir(into.path()).args(["-N", "-p", &address.port().to_string()]);
    client.args([&format!("//{}/www", address.ip()), "-c", &commands]);
    let output = client.output().unwrap();
    let message = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{message}{}", site.said());
    let body = |(name, bytes): (&str, u64)| {
        assert!(std::fs::read(into.path().join(name)).unwrap() == content(name));
        Body { file: site.name(name), bytes: Some(bytes), is_transformed: false }
    };
    FILES.map(body).into()
}

fn samba(lines: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let own = site.path("own");
    std::fs::create_dir(&own).unwrap();
    let (own, root) = (own.display(), site.root().display());
    let text = format!(
        "[global]\nsmb ports = {}\ninterfaces = 127.0.0.1/8\nbind interfaces only = yes\n\
         private dir = {own}\nlock directory = {own}\nstate directory = {own}\n\
         cache directory = {own}\npid directory = {own}\nncalrpc dir = {own}/rpc\n\
         log file = {own}/log\nmap to guest = Bad User\nguest account = root\n\
         load printers = no\ndisable spoolss = yes\nserver signing = disabled\n{lines}\n\
         [www]\npath = {root}\nguest ok = yes\nread only = yes\n",
        address.port()
    );
    let mut command = recorded.command("smbd");
    command.args(["--foreground", "--configfile"]);
    command.arg(site.write("smb.conf", &text));
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || get(&site, address))
}

#[test]
fn with_sendfile_it_lends_all() {
    require!(programs(&["smbd", "smbclient"]));
    let watched = samba("use sendfile = yes\naio read size = 0");
    Expected::of("Samba", "use sendfile = yes").named("smbd").wrong(CONFIGURATION).judge(&watched);
}

#[test]
fn with_other_threads_reading_it_copies_all() {
    require!(programs(&["smbd", "smbclient"]));
    let watched = samba("use sendfile = no\naio read size = 1");
    assert!(watched.truth.is_read);
    Expected::of("Samba", "aio read size = 1")
        .named("smbd")
        .wrong(CONFIGURATION)
        .because("R1", "sendfile")
        .judge(&watched);
}

#[test]
fn without_either_it_copies_all() {
    require!(programs(&["smbd", "smbclient"]));
    let watched = samba("use sendfile = no\naio read size = 0");
    assert!(watched.truth.is_read);
    Expected::of("Samba", "neither")
        .named("smbd")
        .wrong(CONFIGURATION)
        .because("R1", "sendfile")
        .judge(&watched);
}
