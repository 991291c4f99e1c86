use std::io::{ErrorKind, Read, Write};
use std::time::Instant;

use super::*;
use crate::wait;

const LEN: u64 = 100_000;

/// A head and what followed until the end, and how it ended.
struct Got {
    head: String,
    content: Vec<u8>,
    ended: Option<ErrorKind>,
}

impl Got {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

fn sent(origin: &Origin, head: &str) -> TcpStream {
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
    stream
}

fn received(mut stream: impl Read) -> Got {
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let content = bytes.split_off(end.map_or(bytes.len(), |end| end + 4));
    Got { head: String::from_utf8(bytes).unwrap(), content, ended }
}

fn get(origin: &Origin, fields: &str) -> Got {
    received(sent(origin, &format!("GET /a HTTP/1.1\r\n{fields}")))
}

fn with_object() -> (Origin, Arc<Object>) {
    let origin = Origin::start().unwrap();
    let object = origin.put("/a", Object::new(LEN).cache_control("max-age=60"));
    (origin, object)
}

#[test]
fn conditions_and_ranges_are_those_of_the_rfc() {
    let (origin, object) = with_object();
    let date = object.last_modified().unwrap();
    let other = "Thu, 01 Jan 2015 00:00:00 GMT";
    let all = Some(0..LEN);
    for (fields, status, range) in [
        ("", 200, all.clone()),
        ("If-Match: \"g1\"\r\n", 200, all.clone()),
        ("If-Match: *\r\n", 200, all.clone()),
        ("If-Match: \"x\", \"g1\"\r\n", 200, all.clone()),
        ("If-Match: W/\"g1\"\r\n", 412, None),
        ("If-Match: \"g2\"\r\nIf-None-Match: \"g1\"\r\n", 412, None),
        ("If-None-Match: W/\"g1\"\r\n", 304, None),
        ("If-None-Match: \"g2\"\r\nIf-Modified-Since: DATE\r\n", 200, all.clone()),
        ("If-Modified-Since: DATE\r\n", 304, None),
        ("If-Modified-Since: OTHER\r\n", 200, all.clone()),
        ("If-Unmodified-Since: DATE\r\n", 200, all.clone()),
        ("If-Unmodified-Since: OTHER\r\n", 412, None),
        ("Range: bytes=5-9\r\n", 206, Some(5..10)),
        ("Range: bytes=99990-999999\r\n", 206, Some(99_990..LEN)),
        ("Range: bytes=99999-\r\n", 206, Some(99_999..LEN)),
        ("Range: bytes=-7\r\n", 206, Some(LEN - 7..LEN)),
        ("Range: bytes=-200000\r\n", 206, all.clone()),
        ("Range: bytes=100000-\r\n", 416, None),
        ("Range: bytes=0-1,4-5\r\n", 200, all.clone()),
        ("Range: bytes=5-9\r\nIf-Range: \"g1\"\r\n", 206, Some(5..10)),
        ("Range: bytes=5-9\r\nIf-Range: W/\"g1\"\r\n", 200, all.clone()),
        ("Range: bytes=5-9\r\nIf-Range: \"g2\"\r\n", 200, all.clone()),
        ("Range: bytes=5-9\r\nIf-Range: DATE\r\n", 206, Some(5..10)),
        ("Range: bytes=5-9\r\nIf-Match: \"g2\"\r\n", 412, None),
        ("Range: bytes=5-9\r\nIf-Range: OTHER\r\n", 200, all),
    ] {
        let got = get(&origin, &fields.replace("DATE", &date).replace("OTHER", other));
        assert_eq!(got.status(), status, "{fields}: {}", got.head);
        let want = range.clone().map_or_else(Vec::new, |range| object.bytes(range));
        assert!(got.content == want, "{fields}: {:?}", object.difference(0, &got.content));
        let range = range.filter(|_| status == 206);
        let said = range.map(|range| format!("bytes {}-{}/{LEN}", range.start, range.end - 1));
        let said = said.or_else(|| (status == 416).then(|| format!("bytes */{LEN}")));
        assert_eq!(got.field("Content-Range").map(str::to_owned), said, "{fields}");
        if status != 412 && status != 416 {
            assert_eq!(got.field("ETag"), Some("\"g1\""), "{fields}");
            assert_eq!(got.field("Cache-Control"), Some("max-age=60"), "{fields}");
        }
    }
    assert_eq!(received(sent(&origin, "GET /b HTTP/1.1\r\n")).status(), 404);
    assert_eq!(received(sent(&origin, "PUT /a HTTP/1.1\r\n")).status(), 405);
    let head = received(sent(&origin, "HEAD /a?query HTTP/1.1\r\n"));
    assert_eq!((head.status(), head.field("Content-Length")), (200, Some("100000")));
    assert!(head.content.is_empty());
}

#[test]
fn faults_happen_at_their_requests_and_nowhere_else() {
    let (origin, object) = with_object();
    let whole = object.bytes(0..LEN);
    let to = |at| &whole[..at];
    let reset = Some(ErrorKind::ConnectionReset);
    let cases: [(Fault, u16, &[u8], Option<ErrorKind>); 9] = [
        (Fault::At(20_000, Stop::Cut), 200, to(20_000), None),
        (Fault::At(0, Stop::Cut), 200, &[], None),
        (Fault::Length(200_000), 200, &whole, None),
        (Fault::Length(10), 200, &whole, None),
        (Fault::Framed(Framing::UntilClose), 200, &whole, None),
        (Fault::Status(503), 503, b"503\n", None),
        (Fault::Field("X-Made".to_owned(), "up".to_owned()), 200, &whole, None),
        (Fault::At(50_000, Stop::Replace), 200, &whole, None),
        (Fault::Reset, 0, &[], reset),
    ];
    for (fault, status, content, ended) in cases {
        origin.fault(origin.request_count(), fault.clone());
        let got = get(&origin, "");
        assert_eq!((got.status(), got.ended), (status, ended), "{fault:?}: {}", got.head);
        assert!(got.content == content, "{fault:?}: {:?}", object.difference(0, &got.content));
        let len = got.field("Content-Length").and_then(|len| len.parse::<u64>().ok());
        if status == 200 {
            let right = (!matches!(fault, Fault::Framed(_))).then_some(LEN);
            assert_eq!(len, fault.length().or(right), "{fault:?}");
        }
        let is_made = matches!(fault, Fault::Field(..));
        assert_eq!(got.field("X-Made"), is_made.then_some("up"));
    }
    let got = get(&origin, "");
    assert_eq!((got.status(), got.field("ETag")), (200, Some("\"g2\"")), "it was replaced");
}

#[test]
fn faults_of_ranges_and_conditions_are_lies_that_can_be_seen() {
    let (origin, object) = with_object();
    let next = |fault| origin.fault(origin.request_count(), fault);
    next(Fault::IgnoreRange);
    assert_eq!(get(&origin, "Range: bytes=5-9\r\n").content, object.bytes(0..LEN));
    next(Fault::IgnoreConditions);
    let got = get(&origin, "Range: bytes=5-9\r\nIf-Match: \"g9\"\r\n");
    assert_eq!((got.status(), got.content), (206, object.bytes(5..10)));
    next(Fault::Another);
    let got = get(&origin, "Range: bytes=5-9\r\nIf-Match: \"g1\"\r\n");
    assert_eq!((got.status(), got.field("ETag")), (206, Some("\"g2\"")));
    assert!(object.difference(5, &got.content).is_some());
    next(Fault::ContentRange("bytes 6-10/20".to_owned()));
    let got = get(&origin, "Range: bytes=5-9\r\n");
    assert_eq!(got.field("Content-Range"), Some("bytes 6-10/20"));
    next(Fault::ResetInHead);
    let got = get(&origin, "");
    assert!(got.ended.is_some() && got.content.is_empty(), "{}", got.head);
    origin.script(|request| match request.range() {
        Some(Part::Last(_)) => vec![Fault::Status(500)],
        _ => Vec::new(),
    });
    assert_eq!(get(&origin, "Range: bytes=-5\r\n").status(), 500);
    let generations = origin.generations();
    let of = |at: usize| (&*generations[at].0, generations[at].1.generation());
    assert_eq!((generations.len(), of(0), of(1)), (2, ("/a", 1), ("/a", 2)));
    assert_eq!(get(&origin, "Range: bytes=5-\r\n").status(), 206);
    next(Fault::Status(503));
    origin.heal();
    assert_eq!(get(&origin, "Range: bytes=-5\r\n").status(), 206);
}

#[test]
fn chunks_are_chunks_and_old_clients_get_an_end() {
    let origin = Origin::start().unwrap();
    let object = origin.put("/a", Object::new(40_000).framed(Framing::Chunked));
    let got = get(&origin, "");
    assert_eq!(got.field("Transfer-Encoding"), Some("chunked"));
    let grain = object.bytes(0..GRAIN);
    assert!(got.content.starts_with(&[b"4000\r\n", &grain[..], b"\r\n"].concat()));
    assert!(got.content.ends_with(b"\r\n0\r\n\r\n"));
    let got = received(sent(&origin, "GET /a HTTP/1.0\r\n"));
    assert_eq!(got.content, object.bytes(0..40_000));
}

#[test]
fn an_answer_stalls_until_it_is_released_and_goes_on_with_its_own_object() {
    let (origin, object) = with_object();
    for fault in [Fault::Stall, Fault::At(50_000, Stop::Stall)] {
        origin.fault(origin.request_count(), fault);
        let stream = sent(&origin, "GET /a HTTP/1.1\r\n");
        wait::until(Duration::from_secs(5), || (origin.stalled() == 1).then_some(())).unwrap();
        assert!(origin.content_bytes().is_multiple_of(50_000));
        origin.release();
        assert_eq!(received(stream).content, object.bytes(0..LEN));
    }
    origin.fault(origin.request_count(), Fault::At(1, Stop::Stall));
    let stream = sent(&origin, "GET /a HTTP/1.1\r\n");
    wait::until(Duration::from_secs(5), || (origin.stalled() == 1).then_some(())).unwrap();
    let new = origin.put("/a", Object::new(LEN));
    assert_eq!(get(&origin, "").content, new.bytes(0..LEN));
    origin.release();
    assert_eq!(received(stream).content, object.bytes(0..LEN));
}

#[test]
fn what_is_sent_is_limited_for_all_connections_together_and_counted() {
    let (origin, _) = with_object();
    origin.limit(Some(LEN * 4));
    let start = Instant::now();
    let streams = [0, 1].map(|_| sent(&origin, "GET /a HTTP/1.1\r\n"));
    for stream in streams {
        assert_eq!(received(stream).content.len() as u64, LEN);
    }
    assert!(start.elapsed() >= Duration::from_millis(450), "{:?}", start.elapsed());
    assert_eq!(origin.content_bytes(), 2 * LEN);
    origin.limit(None);
    origin.delay(Duration::from_millis(30));
    let start = Instant::now();
    get(&origin, "Range: bytes=0-1\r\nX-Of: a\r\n");
    assert!(start.elapsed() >= Duration::from_millis(30));
    let requests = origin.requests();
    let last = requests.last().unwrap();
    assert_eq!((last.number, last.connection, &*last.method, &*last.target), (2, 2, "GET", "/a"));
    assert_eq!((last.field("x-of"), last.range()), (Some("a"), Some(Part::Within(0, 1))));
}

#[test]
fn an_origin_that_is_down_refuses_and_comes_back_with_what_it_had() {
    let (origin, object) = with_object();
    origin.fault(0, Fault::At(10, Stop::Stall));
    let under_way = sent(&origin, "GET /a HTTP/1.1\r\n");
    wait::until(Duration::from_secs(5), || (origin.stalled() == 1).then_some(())).unwrap();
    origin.down();
    assert!(received(under_way).content.len() <= 10);
    let refused = TcpStream::connect(origin.address()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    origin.up().unwrap();
    assert_eq!(get(&origin, "").content, object.bytes(0..LEN));
    assert_eq!(origin.request_count(), 2);
}

#[test]
fn a_connection_carries_several_requests() {
    let (origin, object) = with_object();
    let mut stream = TcpStream::connect(origin.address()).unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET /a HTTP/1.1\r\nRange: bytes=0-3\r\n\r\n").unwrap();
        let mut got = Vec::new();
        while !got.ends_with(&object.bytes(0..4)) {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            got.push(byte[0]);
        }
    }
    let connections: Vec<_> = origin.requests().iter().map(|it| it.connection).collect();
    assert_eq!(connections, [0, 0]);
}

#[cfg(feature = "tls")]
#[test]
fn the_same_comes_over_tls_and_a_cut_is_no_end() {
    use rustls::pki_types::ServerName;

    let identity = crate::tls::Identity::new().unwrap();
    let version = &rustls::version::TLS13;
    let origin = Origin::start_tls(&identity, version).unwrap();
    let object = origin.put("/a", Object::new(LEN).framed(Framing::UntilClose));
    assert!(origin.url("/a").starts_with("https://127.0.0.1:"));
    origin.fault(1, Fault::At(30_000, Stop::Cut));
    let fetch = || {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let client = identity.client((version, "")).unwrap();
        let client = rustls::ClientConnection::new(client, name).unwrap();
        let tcp = TcpStream::connect(origin.address()).unwrap();
        let mut stream = rustls::StreamOwned::new(client, tcp);
        stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").unwrap();
        received(stream)
    };
    let got = fetch();
    assert_eq!((got.ended, got.content), (None, object.bytes(0..LEN)));
    let got = fetch();
    let ended = Some(ErrorKind::UnexpectedEof);
    assert_eq!((got.ended, got.content), (ended, object.bytes(0..30_000)));
}
