//! Several ranges in one request, next to nginx.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use underpass_testkit::require;
use underpass_testkit::skip::Capability;

use crate::fixture::{LARGE_BYTES, field, fixture, large};
use crate::nginx::nginx;

fn get(address: SocketAddr, path: &str, range: &str) -> Vec<u8> {
    let mut peer = TcpStream::connect(address).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let fields = format!("Host: x\r\nRange: bytes={range}\r\nConnection: close");
    write!(peer, "GET {path} HTTP/1.1\r\n{fields}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    peer.read_to_end(&mut answer).unwrap();
    answer
}

/// Status, and the place and the bytes of each part, as a client reads them.
fn parts(answer: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let (head, mut rest) = split(answer, b"\r\n\r\n");
    let head = format!("{}\r\n\r\n", String::from_utf8(head.to_vec()).unwrap().to_lowercase());
    let length: usize = field(&head, "content-length").parse().unwrap();
    assert_eq!(length, rest.len(), "{head}");
    let status = head[9..12].to_owned();
    let media_type = field(&head, "content-type");
    let Some(boundary) = media_type.strip_prefix("multipart/byteranges; boundary=") else {
        let place = head.lines().find_map(|line| line.strip_prefix("content-range: "));
        return (status, vec![(place.unwrap_or_default().into(), rest.to_vec())]);
    };
    assert!(!head.contains("content-range"), "{head}");
    let mut parts = Vec::new();
    let between = format!("--{boundary}");
    while let (_, after) = split(rest, between.as_bytes())
        && after != b"--\r\n"
    {
        let (head, after) = split(after, b"\r\n\r\n");
        let head = format!("{}\r\n\r\n", String::from_utf8(head.to_vec()).unwrap().to_lowercase());
        assert_eq!(field(&head, "content-type"), "application/octet-stream");
        let place = field(&head, "content-range").to_owned();
        let (first, last) =
            place["bytes ".len()..].split_once('/').unwrap().0.split_once('-').unwrap();
        let len = last.parse::<usize>().unwrap() + 1 - first.parse::<usize>().unwrap();
        parts.push((place, after[..len].to_vec()));
        rest = &after[len..];
        assert!(rest.starts_with(format!("\r\n{between}").as_bytes()));
    }
    (status, parts)
}

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    let found = bytes.windows(at.len()).position(|window| window == at).unwrap();
    (&bytes[..found], &bytes[found + at.len()..])
}

const SETS: [&str; 7] = [
    "0-9,1000-1009",
    "8999999-,0-0,500-600",
    "-1, 0-0",
    "0-0, 99999999-",
    "99999999-, 99999998-",
    "0-2000000,4000000-6000000,8000000-",
    "100-199,1000-1999,10000-19999,100000-199999",
];

#[test]
fn the_parts_are_those_that_nginx_sends() {
    require!(Capability::Program("nginx"));
    let peer = nginx(&fixture().served, "");
    for set in SETS {
        let ours = parts(&get(fixture().address, "/large.bin", set));
        let theirs = parts(&get(peer.address(), "/large.bin", set));
        assert_eq!(ours.0, theirs.0, "{set}");
        // The texts of errors differ.
        assert!(ours.1 == theirs.1 || ours.0 == "416", "{set}");
    }
}

#[test]
fn parts_of_any_size_are_the_bytes_of_the_file() {
    let (large, total) = (large(), LARGE_BYTES);
    let (status, got) = parts(&get(fixture().address, "/large.bin", "7-5000006, 6000000-,0-0"));
    let expected = [
        (format!("bytes 7-5000006/{total}"), large[7..5_000_007].to_vec()),
        (format!("bytes 6000000-{}/{total}", total - 1), large[6_000_000..].to_vec()),
    ];
    // The last one touches the first.
    assert_eq!(status, "206");
    assert_eq!(got[0].0, format!("bytes 0-5000006/{total}"));
    assert!(got[1] == expected[1] && got.len() == 2);
}
