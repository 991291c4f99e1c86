//! Programs in an overlay file system, as in a container.
//!
//! What such a process has open and what it has mapped are other inodes than those of the files
//! whose pages it sends.

use std::process::Command;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{ask_for_none, fetch};
use crate::programs::judged::Expected;
use crate::programs::nginx::configured;
use crate::programs::site::{Site, address, programs};
use crate::programs::watched::{Watched, watched};

/// Becomes a program whose root is an overlay of this machine's. Its layer is in memory, for it
/// must not be within what is beneath.
const CONTAINER: &str = "set -e
mount -t tmpfs none \"$1\"
mkdir \"$1/upper\" \"$1/work\" \"$1/root\"
mount -t overlay -o \"lowerdir=/,upperdir=$1/upper,workdir=$1/work\" none \"$1/root\"
mount --rbind /proc \"$1/root/proc\"
mount --rbind /dev \"$1/root/dev\"
directory=$2
shift 2
exec chroot \"$directory/../layer/root\" env -C \"$directory\" \"$@\"";

/// A command that runs there what follows, in the directory of the files.
fn contained(site: &Site, recorded: &Recorded) -> Command {
    let layer = site.path("layer");
    std::fs::create_dir(&layer).unwrap();
    let mut command = recorded.command("unshare");
    command.args(["--mount", "sh", "-c", CONTAINER, "sh"]).arg(layer).arg(site.root());
    command
}

fn python(way: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    site.write("server.py", include_str!("peers/server.py"));
    let mut command = contained(&site, &recorded);
    command.args(["python3", "../server.py", way, &address.port().to_string()]);
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || fetch(&site, "http", address))
}

fn nginx(lines: &str) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let text = configured(&site, address, "", lines);
    let mut command = contained(&site, &recorded);
    command.args(["nginx", "-e"]).arg(site.path("log")).arg("-c").arg(text);
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || {
        // What it says of that is in its executable, which is not a file that it sends.
        ask_for_none(address);
        fetch(&site, "http", address)
    })
}

#[test]
fn a_mapping_is_copied_from() {
    require!(programs(&["python3", "unshare"]));
    Expected::of("Python in a container", "mmap, kept")
        .named("python3")
        .because("R2", "sendfile")
        .judge(&python("kept"));
}

#[test]
fn with_sendfile_it_lends_all() {
    require!(programs(&["nginx", "unshare"]));
    Expected::of("nginx in a container", "sendfile on")
        .named("nginx")
        .judge(&nginx("sendfile on;"));
}

#[test]
fn without_sendfile_it_copies_all() {
    require!(programs(&["nginx", "unshare"]));
    Expected::of("nginx in a container", "sendfile off")
        .named("nginx")
        .because("R1", "sendfile on;")
        .judge(&nginx("sendfile off;"));
}
