//! Entity-tags and media types that are chosen.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, UNIX_EPOCH};

use underpass_serve::media_type::{Charset, MediaTypes};
use underpass_serve::{EntityTags, MetadataRules, SiteOptions};
use underpass_testkit::skip::Capability;
use underpass_testkit::{require, wait};

use crate::fixture::{Fixture, field};
use crate::nginx::nginx;

fn request(path: &str) -> String {
    format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
}

/// The head in lower case.
fn ask(address: SocketAddr, path: &str) -> String {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.write_all(request(path).as_bytes()).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

#[test]
fn tags_of_date_and_size_are_those_of_nginx() {
    require!(Capability::Program("nginx"));
    let dir = tempfile::tempdir().unwrap();
    for (name, content, modified) in
        [("a.txt", "ten bytes.", 784_111_777), ("b", "", 1), ("c", "c", 0)]
    {
        fs::write(dir.path().join(name), content).unwrap();
        let file = fs::File::options().append(true).open(dir.path().join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(modified, 5)).unwrap();
    }
    let peer = nginx(dir.path(), "");
    let metadata = MetadataRules { entity_tags: EntityTags::MtimeSize, ..Default::default() };
    let server = Fixture::of(SiteOptions { metadata, ..SiteOptions::new(dir.path().into()) });
    let tag = |answer: &str| field(answer, "etag").to_owned();
    // It is weak until the second in which the file was made is over.
    let is_strong = || (!tag(&server.answers(&request("/c"))).starts_with("W/")).then_some(());
    wait::until(Duration::from_secs(10), is_strong).unwrap();
    for name in ["/a.txt", "/b", "/c"] {
        let theirs = ask(peer.address(), name);
        assert_eq!(tag(&server.answers(&request(name))), tag(&theirs), "{name}");
    }
    assert_eq!(tag(&server.answers(&request("/a.txt"))), "\"2ebc98a1-a\"");
}

#[test]
fn media_types_are_those_that_were_given() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.md", "b.data", "c.txt"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let rules = vec!["data application/x-data".parse().unwrap(), "md text/plain".parse().unwrap()];
    let media_types = MediaTypes::new(rules, "off".parse::<Charset>().unwrap());
    let metadata = MetadataRules { media_types, ..Default::default() };
    let server = Fixture::of(SiteOptions { metadata, ..SiteOptions::new(dir.path().into()) });
    for (path, media_type) in
        [("/a.md", "text/plain"), ("/b.data", "application/x-data"), ("/c.txt", "text/plain")]
    {
        assert_eq!(field(&server.answers(&request(path)), "content-type"), media_type, "{path}");
    }
}
