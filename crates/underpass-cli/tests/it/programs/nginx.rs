//! nginx, with and without sendfile, with gzip and with TLS.

use std::net::SocketAddr;
use std::path::PathBuf;

use underpass_testkit::recorded::Recorded;
use underpass_testkit::require;

use crate::programs::client::{fetch, fetch_by_http2, fetch_compressed};
use crate::programs::judged::Expected;
use crate::programs::site::{Site, address, programs};
use crate::programs::truth::Body;
use crate::programs::watched::{Watched, watched};

fn nginx(listen: &str, lines: &str, ask: impl Fn(&Site, SocketAddr) -> Vec<Body>) -> Watched {
    let (site, recorded, address) = (Site::new(), Recorded::new().unwrap(), address());
    let mut command = recorded.command("nginx");
    command.arg("-e").arg(site.path("log")).arg("-c");
    command.arg(configured(&site, address, listen, lines));
    let server = site.start(&mut command, address);
    watched(&recorded, server.id(), || ask(&site, address))
}

/// Writes its configuration, and returns where that is.
pub(crate) fn configured(site: &Site, address: SocketAddr, listen: &str, lines: &str) -> PathBuf {
    let (key, certificate) = site.certificate();
    let (dir, root) = (site.path(""), site.root().display());
    let (dir, key, certificate) = (dir.display(), key.display(), certificate.display());
    let text = format!(
        "daemon off; worker_processes 2; user root; pid {dir}pid; error_log {dir}log;\n\
         events {{}}\n\
         http {{ access_log off; default_type text/html;\n\
         client_body_temp_path {dir}b; proxy_temp_path {dir}p; fastcgi_temp_path {dir}f;\n\
         uwsgi_temp_path {dir}u; scgi_temp_path {dir}s;\n\
         ssl_certificate {certificate}; ssl_certificate_key {key};\n\
         {lines}\n\
         server {{ listen {address} {listen}; root {root}; }} }}\n"
    );
    site.write("conf", &text)
}

fn plainly(site: &Site, address: SocketAddr) -> Vec<Body> {
    fetch(site, "http", address)
}

#[test]
fn with_sendfile_it_lends_all() {
    require!(programs(&["nginx"]));
    Expected::of("nginx", "sendfile on").judge(&nginx("", "sendfile on;", plainly));
}

#[test]
fn without_sendfile_it_copies_all() {
    require!(programs(&["nginx"]));
    let watched = nginx("", "sendfile off;", plainly);
    assert!(watched.truth.is_read);
    Expected::of("nginx", "sendfile off").because("R1", "sendfile on;").judge(&watched);
}

#[test]
fn with_gzip_it_sends_less_than_it_reads() {
    require!(programs(&["nginx"]));
    let watched = nginx("", "sendfile on; gzip on; gzip_types *;", fetch_compressed);
    assert!(watched.truth.is_read && watched.truth.is_transformed);
    Expected::of("nginx", "gzip on").because("R4", "gzip_static on;").judge(&watched);
}

#[test]
fn with_tls_it_encrypts_in_its_own_memory() {
    require!(programs(&["nginx"]));
    let watched = nginx("ssl", "sendfile on;", |site, address| fetch(site, "https", address));
    assert!(watched.truth.is_read);
    Expected::of("nginx", "TLS").because("R3", "ssl_conf_command Options KTLS;").judge(&watched);
}

#[test]
fn over_http_2_it_lends_all() {
    require!(programs(&["nginx"]));
    let watched = nginx("http2", "sendfile on;", fetch_by_http2);
    Expected::of("nginx", "HTTP/2, sendfile on").judge(&watched);
}
