//! Apache: by sendfile, from mappings of its worker threads, and by reading.

use std::net::SocketAddr;
use std::path::PathBuf;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch, fetch_at_once};
use crate::programs::judged::{Expected, Known};
use crate::programs::site::{FILES, Site, address, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

/// Two processes with threads, as another user than root, which Apache refuses to be.
fn apache(module: &str, lines: &str, ask: impl Fn(&Site, SocketAddr) -> Vec<Body>) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let mut command = recorded.command("apache2");
    command.args(["-DFOREGROUND", "-f"]).arg(configured(&site, address, module, lines));
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || ask(&site, address))
}

/// Writes its configuration, and returns where that is.
pub(crate) fn configured(site: &Site, address: SocketAddr, module: &str, lines: &str) -> PathBuf {
    let (dir, root) = (site.path(""), site.root().display());
    let (dir, modules) = (dir.display(), "/usr/lib/apache2/modules");
    let text = format!(
        "ServerRoot {dir}\nServerName localhost\nListen {address}\nPidFile {dir}pid\n\
         ErrorLog {dir}log\nMutex sem\nUser daemon\nGroup daemon\nDocumentRoot {root}\n\
         LoadModule mpm_{module}_module {modules}/mod_mpm_{module}.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\n\
         StartServers 2\nServerLimit 2\nThreadsPerChild 8\nMaxRequestWorkers 16\n\
         MinSpareThreads 8\nMaxSpareThreads 16\n{lines}\n"
    );
    site.write("apache.conf", &text)
}

const AT_ONCE: Known =
    ("pieces are of one of several files while another thread maps one", FILES[0].1, "bytes");

fn plainly(site: &Site, address: SocketAddr) -> Vec<Body> {
    fetch(site, "http", address)
}

#[test]
fn with_sendfile_it_lends_all() {
    require!(programs(&["apache2"]));
    let watched = apache("event", "EnableSendfile On\nEnableMMAP Off", plainly);
    Expected::of("Apache", "EnableSendfile On").named("apache2").judge(&watched);
}

#[test]
fn with_mappings_made_by_threads_at_once_it_copies_all() {
    require!(programs(&["apache2"]));
    let watched = apache("worker", "EnableSendfile Off\nEnableMMAP On", fetch_at_once);
    assert!(watched.truth.is_mapped);
    Expected::of("Apache", "EnableMMAP On, 8 clients")
        .named("apache2")
        .because("R2", "sendfile")
        .wrong_at_times(AT_ONCE)
        .judge(&watched);
}

#[test]
fn with_neither_it_reads_and_writes() {
    require!(programs(&["apache2"]));
    let watched = apache("event", "EnableSendfile Off\nEnableMMAP Off", plainly);
    assert!(watched.truth.is_read && !watched.truth.is_mapped);
    Expected::of("Apache", "neither")
        .named("apache2")
        .because("R1", "EnableSendfile On")
        .judge(&watched);
}
