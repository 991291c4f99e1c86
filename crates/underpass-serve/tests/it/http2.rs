//! HTTP/2 by prior knowledge, with h2 as the client: the answers are those of HTTP/1.

use std::future::Future;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::net::TcpStream;

use crate::fixture::{Fixture, LARGE_BYTES, fixture, large};

/// Runs a client to its end.
pub(crate) fn run<T>(client: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(std::time::Duration::from_secs(60), client).await.unwrap()
    })
}

pub(crate) async fn connect(server: &Fixture) -> SendRequest<Bytes> {
    connect_with(server, &Builder::new()).await
}

/// A connection whose windows are as the builder says.
pub(crate) async fn connect_with(server: &Fixture, builder: &Builder) -> SendRequest<Bytes> {
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = builder.handshake(socket).await.unwrap();
    // What it ends with, its streams are told too.
    tokio::spawn(async { drop(connection.await) });
    client
}

/// A request without content.
pub(crate) fn request(method: &str, path: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://x{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// Asks, and waits for the head of the answer.
pub(crate) async fn ask(
    client: &SendRequest<Bytes>,
    request: Request<()>,
) -> Result<Response<RecvStream>, h2::Error> {
    let mut client = client.clone().ready().await?;
    client.send_request(request, true)?.0.await
}

pub(crate) async fn get(
    client: &SendRequest<Bytes>,
    path: &str,
) -> Result<Response<RecvStream>, h2::Error> {
    ask(client, request("GET", path, &[])).await
}

/// Content up to its end, or up to `len` bytes.
pub(crate) async fn content(stream: &mut RecvStream, len: usize) -> Result<Vec<u8>, h2::Error> {
    let mut content = Vec::new();
    while content.len() < len {
        let Some(data) = stream.data().await else { break };
        let data = data?;
        // Where the stream is over, there is no window to open.
        stream.flow_control().release_capacity(data.len()).unwrap_or_default();
        content.extend_from_slice(&data);
    }
    Ok(content)
}

/// The whole content of a file.
pub(crate) async fn whole(client: &SendRequest<Bytes>, path: &str) -> Result<Vec<u8>, h2::Error> {
    let mut response = get(client, path).await?;
    assert_eq!(response.status(), 200, "{path}");
    content(response.body_mut(), usize::MAX).await
}

/// The lines of fields that do not depend on time or version.
fn lines(fields: &HeaderMap) -> Vec<String> {
    assert!(fields.contains_key("date"), "{fields:?}");
    let lines = fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()));
    let mut lines: Vec<_> = lines.filter(|line| !line.starts_with("date: ")).collect();
    lines.sort();
    lines
}

/// Status, fields and content as HTTP/1 has them.
fn by_http1(method: &str, path: &str, fields: &[(&str, &str)]) -> (String, Vec<String>, Vec<u8>) {
    let more: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let end = "Connection: close\r\n\r\n";
    let answer = fixture().exchange(&format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{more}{end}"));
    let head_len = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..head_len].to_vec()).unwrap();
    let (line, fields) = head.split_once("\r\n").unwrap();
    let fields = fields.lines().filter(|line| !is_of_http1(line)).map(str::to_owned);
    let mut fields: Vec<_> = fields.collect();
    fields.sort();
    (line[9..12].to_owned(), fields, answer[head_len + 4..].to_vec())
}

fn is_of_http1(line: &str) -> bool {
    ["date: ", "connection: "].iter().any(|name| line.starts_with(name))
}

#[test]
fn every_answer_is_that_of_http_1() {
    let etag = fixture().etag("/digits.txt");
    let paths = [
        "/",
        "/digits.txt",
        "/empty.txt",
        "/site",
        "/site/",
        "/site?a=b",
        "/plain/",
        "/none",
        "/out",
        "/fifo",
        "/%zz",
        "/%00",
        "/a%2fb",
        "/../digits.txt",
        "/plain/%C3%A9.txt",
    ];
    let fields: [&[(&str, &str)]; 10] = [
        &[],
        &[("range", "bytes=2-4")],
        &[("range", "bytes=-0")],
        &[("range", "bytes=5-100"), ("if-range", &etag)],
        &[("if-none-match", &etag)],
        &[("if-none-match", "*")],
        &[("if-match", "\"x\"")],
        &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("accept-encoding", "gzip, br, zstd"), ("te", "trailers")],
        &[("origin", "http://y"), ("user-agent", "test")],
    ];
    run(async {
        let client = connect(fixture()).await;
        for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE", "BREW"] {
            for (path, fields) in paths.iter().flat_map(|path| fields.map(|it| (*path, it))) {
                check(&client, method, path, fields).await;
            }
        }
        for range in ["bytes=0-1,5000-5001", "bytes=8999999-", "bytes=-3000000", "bytes=1-0"] {
            check(&client, "GET", "/large.bin", &[("range", range)]).await;
        }
    });
}

async fn check(client: &SendRequest<Bytes>, method: &str, path: &str, fields: &[(&str, &str)]) {
    let mut response = ask(client, request(method, path, fields)).await.unwrap();
    let got = content(response.body_mut(), usize::MAX).await.unwrap();
    let (status, expected, sent) = by_http1(method, path, fields);
    let told = format!("{method} {path} {fields:?}");
    assert_eq!(response.status().as_str(), status, "{told}");
    assert_eq!(lines(response.headers()), expected, "{told}");
    assert!(got == sent, "{told}: {} and {} bytes", got.len(), sent.len());
}

#[test]
fn what_has_no_content_ends_with_its_head() {
    run(async {
        let client = connect(fixture()).await;
        for (method, path, fields) in [
            ("HEAD", "/large.bin", &[][..]),
            ("GET", "/empty.txt", &[]),
            ("GET", "/digits.txt", &[("if-none-match", "*")]),
            ("OPTIONS", "/", &[]),
            ("HEAD", "/digits.txt", &[("host", "other")]),
        ] {
            let response = ask(&client, request(method, path, fields)).await.unwrap();
            assert!(response.body().is_end_stream(), "{method} {path}");
        }
    });
}

#[test]
fn the_host_is_named_by_the_authority_and_by_no_other() {
    run(async {
        let client = connect(fixture()).await;
        for (uri, host, expected) in [
            ("http://x/digits.txt", None, 200),
            ("http://x/digits.txt", Some("X:80"), 200),
            ("http://x/digits.txt", Some("y"), 400),
            ("http://x..y/digits.txt", None, 400),
            ("http://u@x/digits.txt", None, 400),
        ] {
            let request = Request::get(uri);
            let request = host.into_iter().fold(request, |it, host| it.header("host", host));
            let response = ask(&client, request.body(()).unwrap()).await.unwrap();
            assert_eq!(response.status(), expected, "{uri} {host:?}");
        }
        let connect = Request::builder().method("CONNECT").uri("x:443").body(()).unwrap();
        assert_eq!(ask(&client, connect).await.unwrap().status(), 405);
    });
}

#[test]
fn a_head_that_is_too_large_is_told_so() {
    let long = "x".repeat(40_000);
    run(async {
        let client = connect(fixture()).await;
        let target = get(&client, &format!("/{long}")).await.unwrap();
        assert_eq!(target.status(), 414);
        let fields = ask(&client, request("GET", "/", &[("a", &long)])).await.unwrap();
        assert_eq!(fields.status(), 431);
        // More than is read of a head.
        let both = [("a", long.as_str()), ("b", long.as_str())];
        let fields = ask(&client, request("GET", "/", &both)).await.unwrap();
        assert_eq!(fields.status(), 431);
        assert_eq!(whole(&client, "/digits.txt").await.unwrap(), b"0123456789");
    });
}

#[test]
fn content_of_a_request_is_not_waited_for_and_the_connection_continues() {
    run(async {
        let client = connect(fixture()).await;
        let mut ready = client.clone().ready().await.unwrap();
        let (response, mut stream) =
            ready.send_request(request("POST", "/up", &[]), false).unwrap();
        stream.send_data(Bytes::from(vec![7; 8_000_000]), true).unwrap();
        let mut response = response.await.unwrap();
        assert_eq!(response.status(), 405);
        let text = content(response.body_mut(), usize::MAX).await.unwrap();
        assert!(text.starts_with(b"405 Method Not Allowed\n"));
        assert_eq!(whole(&client, "/digits.txt").await.unwrap(), b"0123456789");
    });
}

#[test]
fn a_hundred_files_at_a_time_each_have_their_own_bytes() {
    let expected = large();
    run(async {
        let client = connect(fixture()).await;
        let begun = (0..100_usize).map(|nth| {
            let (from, to) = (nth * 70_001, nth * 70_001 + nth * 5_003);
            let client = client.clone();
            tokio::spawn(async move {
                let range = format!("bytes={from}-{to}");
                let request = request("GET", "/large.bin", &[("range", range.as_str())]);
                let mut response = ask(&client, request).await.unwrap();
                (from, to, content(response.body_mut(), usize::MAX).await.unwrap())
            })
        });
        for task in begun.collect::<Vec<_>>() {
            let (from, to, got) = task.await.unwrap();
            assert!(got == expected[from..=to], "{from} to {to}: {} bytes", got.len());
        }
        assert!(whole(&client, "/large.bin").await.unwrap() == expected);
        assert_eq!(expected.len(), LARGE_BYTES);
    });
}
