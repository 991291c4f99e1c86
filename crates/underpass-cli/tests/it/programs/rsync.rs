//! rsync's daemon, which reads and writes, and compresses with `-z`.

use std::net::SocketAddr;
use std::process::Command;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;
use underpass_testkit::strace::Strace;

use crate::programs::commands::explained;
use crate::programs::judged::Expected;
use crate::programs::site::{FILES, Site, address, content, programs};
use crate::programs::truth::{Body, Truth};
use crate::programs::watched::{Watched, watched};

/// Copies all files on one connection.
fn copy(site: &Site, address: SocketAddr, options: &[&str]) -> Vec<Body> {
    let into = tempfile::tempdir().unwrap();
    let mut rsync = Command::new("rsync");
    rsync.args(["--quiet", "--recursive"]).args(options);
    let output = rsync.arg(format!("rsync://{address}/www/")).arg(into.path()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}{}", site.said());
    let is_transformed = options.contains(&"-z");
    let body = |(name, bytes): (&str, u64)| {
        assert!(std::fs::read(into.path().join(name)).unwrap() == content(name));
        Body { file: site.name(name), bytes: (!is_transformed).then_some(bytes), is_transformed }
    };
    FILES.map(body).into()
}

fn rsync(options: &[&str]) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let server = site.start(daemon_of(&site, address, &mut recorded.command("rsync")), address);
    watched(&recorded, server.id(), || copy(&site, address, options))
}

fn daemon_of<'c>(site: &Site, address: SocketAddr, rsync: &'c mut Command) -> &'c mut Command {
    let text = format!(
        "use chroot = no\nuid = root\ngid = root\n[www]\npath = {}\nread only = yes\n",
        site.root().display()
    );
    rsync.args(["--daemon", "--no-detach", "--address", "127.0.0.1", "--port"]);
    rsync.arg(address.port().to_string()).arg("--config").arg(site.write("conf", &text))
}

#[test]
fn its_daemon_copies_all() {
    require!(programs(&["rsync"]));
    let watched = rsync(&[]);
    assert!(watched.truth.is_read);
    Expected::of("rsync", "daemon").because("R1", "cannot lend").judge(&watched);
}

#[test]
fn with_compression_it_sends_less_than_it_reads() {
    require!(programs(&["rsync"]));
    let watched = rsync(&["-z"]);
    assert!(watched.truth.is_read);
    Expected::of("rsync", "daemon, -z").because("R4", "beforehand").judge(&watched);
}

#[test]
fn what_receives_files_sends_none() {
    require!(programs(&["rsync"]));
    let (site, address) = (Site::new(), address());
    let mut daemon = Command::new("rsync");
    let _daemon = site.start(daemon_of(&site, address, &mut daemon), address);
    let fetch = |into: &str| {
        let into = site.path(into);
        let mut rsync = Command::new("rsync");
        rsync.args(["--quiet", "--recursive", &format!("rsync://{address}/www/")]).arg(into);
        rsync
    };
    let twin = Strace::of(fetch("one")).run().unwrap();
    twin.assert_success();
    let watched =
        Watched { summary: explained(&fetch("other")), truth: Truth::of(twin.calls(), &[]) };
    Expected::of("rsync", "receiving").judge(&watched);
}
