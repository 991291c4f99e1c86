//! What asks the programs for their files: curl, on one connection a file.

use std::net::SocketAddr;
use std::process::Command;

use crate::programs::site::{FILES, Site, content};
use crate::programs::truth::Body;

/// Asks for each of the files once, largest first.
pub(crate) fn fetch(site: &Site, scheme: &str, server: SocketAddr) -> Vec<Body> {
    FILES.map(|(name, _)| fetch_one(site, scheme, server, name, &[])).into()
}

/// The same, compressed.
pub(crate) fn fetch_compressed(site: &Site, server: SocketAddr) -> Vec<Body> {
    FILES.map(|(name, _)| fetch_one(site, "http", server, name, &["--compressed"])).into()
}

/// The same over HTTP/2, which the server is known to speak.
pub(crate) fn fetch_by_http2(site: &Site, server: SocketAddr) -> Vec<Body> {
    FILES
        .map(|(name, _)| fetch_one(site, "http", server, name, &["--http2-prior-knowledge"]))
        .into()
}

/// Asks for each of the files three times, smallest first, so that memory that was of one file is
/// of another soon after.
pub(crate) fn fetch_in_turns(site: &Site, server: SocketAddr) -> Vec<Body> {
    let names = FILES.iter().rev().cycle().take(3 * FILES.len());
    names.map(|(name, _)| fetch_one(site, "http", server, name, &[])).collect()
}

/// Eight clients at once, each of which asks for each of the files, twice.
pub(crate) fn fetch_at_once(site: &Site, server: SocketAddr) -> Vec<Body> {
    std::thread::scope(|scope| {
        let twice = || [fetch(site, "http", server), fetch(site, "http", server)].concat();
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(twice)).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    })
}

/// Asks for one file, with these options of curl.
pub(crate) fn fetch_one(
    site: &Site,
    scheme: &str,
    server: SocketAddr,
    name: &str,
    options: &[&str],
) -> Body {
    let got = get(site, &format!("{scheme}://{server}/{name}"), options);
    assert!(got.content == content(name), "{name} came otherwise");
    let is_transformed = options.contains(&"--compressed");
    Body { file: site.name(name), bytes: Some(got.bytes), is_transformed }
}

/// Asks for a file that is not there.
pub(crate) fn ask_for_none(server: SocketAddr) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "100", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code}"]).arg(format!("http://{server}/none"));
    assert_eq!(String::from_utf8(curl.output().unwrap().stdout).unwrap(), "404");
}

/// What came, and how many bytes that were on the way.
pub(crate) struct Got {
    pub(crate) content: Vec<u8>,
    pub(crate) bytes: u64,
}

/// Asks for whatever is there, with these options of curl.
pub(crate) fn get(site: &Site, url: &str, options: &[&str]) -> Got {
    let into = tempfile::NamedTempFile::new().unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "100"]);
    curl.args(["--write-out", "%{size_download}", "--output"]).arg(into.path()).args(options);
    let output = curl.arg(url).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{url}: {message}{}", site.said());
    let bytes = String::from_utf8(output.stdout).unwrap().parse().unwrap();
    Got { content: std::fs::read(into.path()).unwrap(), bytes }
}
