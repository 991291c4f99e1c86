//! Files that cannot be mapped, or whose size is not that of their content: what can be read is
//! sent, or the answer says that it is not.

use std::io::Read;
use std::path::Path;

use underpass_testkit::fuse::{Fuse, FuseFile};
use underpass_testkit::require;

use crate::fixture::{Fixture, field};

fn get(server: &Fixture, path: &str, fields: &str) -> (String, Vec<u8>) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n");
    let answer = server.exchange(&request);
    let end_of_head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8(answer[..end_of_head].to_vec()).unwrap();
    (head, answer[end_of_head..].to_vec())
}

/// The content of a chunked body; nothing of one that does not end.
fn unchunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut content = vec![];
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n")?;
        let len = usize::from_str_radix(std::str::from_utf8(&body[..line]).ok()?, 16).ok()?;
        body = &body[line + 2..];
        if len == 0 {
            return (body == b"\r\n").then_some(content);
        }
        content.extend_from_slice(body.get(..len)?);
        body = body.get(len + 2..)?;
    }
}

#[test]
fn files_of_procfs_have_their_content() {
    let server = Fixture::serve(Path::new("/proc").into());
    let limit = std::fs::read("/proc/sys/fs/pipe-max-size").unwrap();
    let (head, body) = get(&server, "/sys/fs/pipe-max-size", "Range: bytes=0-0\r\n");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body == limit, "{head}");
    assert_eq!(field(&head, "content-length"), limit.len().to_string());

    let symbols = std::fs::read("/proc/kallsyms").unwrap();
    let (head, body) = get(&server, "/kallsyms", "");
    assert_eq!(field(&head, "transfer-encoding"), "chunked");
    assert!(unchunked(&body).unwrap() == symbols);
    let answer = server.exchange("GET /kallsyms HTTP/1.0\r\n\r\n");
    assert!(answer.ends_with(&symbols), "to the end of the connection");

    let (head, _) = get(&server, "/self/mem", "");
    assert!(head.starts_with("HTTP/1.1 500 "), "there is nothing at its start: {head}");
}

const FILE_BYTES: usize = 200_000;

fn content() -> Vec<u8> {
    (0..FILE_BYTES).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

/// A server of files without a page cache, of which `true` has the size that it says.
fn direct() -> Result<(Fuse, Fixture), underpass_testkit::skip::Missing> {
    let file = |name, size| FuseFile { name, size, content: content(), is_direct: true };
    let len = FILE_BYTES as u64;
    let none = FuseFile { content: vec![], ..file("none", 5_000) };
    let files =
        vec![file("true", len), file("short", 5_000), file("long", 2 * len), file("zero", 0), none];
    let fuse = Fuse::mount(files)?;
    let server = Fixture::serve(fuse.path());
    Ok((fuse, server))
}

#[test]
fn a_file_that_cannot_be_mapped_is_sent_with_all_that_describes_it() {
    let (_fuse, server) = require!(direct());
    for _ in 0..2 {
        let (head, body) = get(&server, "/true", "");
        assert!(body == content(), "{head}");
        assert_eq!(field(&head, "content-length"), FILE_BYTES.to_string());
        assert_eq!(field(&head, "accept-ranges"), "bytes");
    }
    let (head, body) = get(&server, "/true", "Range: bytes=65535-131073\r\n");
    assert!(head.starts_with("HTTP/1.1 206 ") && body == content()[65_535..=131_073], "{head}");
    let (head, body) = get(&server, "/true", "Range: bytes=-1\r\n");
    assert!(head.starts_with("HTTP/1.1 206 ") && body == content()[FILE_BYTES - 1..], "{head}");
}

#[test]
fn a_size_that_is_not_that_of_the_content_is_not_sent() {
    let (fuse, server) = require!(direct());
    for name in ["short", "long", "zero"] {
        let (head, body) = get(&server, &format!("/{name}"), "Range: bytes=0-9\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(unchunked(&body).is_some_and(|body| body == content()), "{name}: {head}");
        let mut read = vec![];
        std::fs::File::open(fuse.path().join(name)).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == content(), "as read(2) has it");
    }
    let (head, body) = get(&server, "/none", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body.is_empty(), "{head}");
    assert_eq!(field(&head, "content-length"), "0");
}

/// What the kernel keeps pages of ends where the size says, or where the content does.
#[test]
fn a_cached_file_that_is_shorter_than_it_says_is_not_completed() {
    let file = |name, size| FuseFile { name, size, content: content(), is_direct: false };
    let len = FILE_BYTES as u64;
    let files = vec![file("true", len), file("long", 2 * len), file("short", 5_000)];
    let fuse = require!(Fuse::mount(files));
    let server = Fixture::serve(fuse.path());
    let (_, body) = get(&server, "/true", "");
    assert!(body == content());
    let (_, body) = get(&server, "/short", "");
    assert!(body == content()[..5_000], "as read(2) has it");
    let (head, body) = get(&server, "/long", "");
    assert_eq!(field(&head, "content-length"), (2 * FILE_BYTES).to_string());
    assert!(body.len() < 2 * FILE_BYTES, "cut");
}
