//! HTTPS with rustls at the other end: in the kernel if it has TLS, otherwise in user space, which
//! the report says.
//!
//! SSL_CERT_FILE is for a whole process: each test runs again in a separate one.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use underpass::{Method, Policy};
use underpass_copy::{CopyError, Endpoint, Failure, Interrupt, Report, Request, Session, Usage};
use underpass_testkit::payload;
use underpass_testkit::skip::{Capability, Requirement};
use underpass_testkit::test_name;
use underpass_testkit::tls::{Identity, Kind};

const LEN: u64 = 1_234_567;

/// Of content that several connections share: more than the sockets between them hold.
const LONG: u64 = 12 * LEN;

const KINDS: [Kind; 3] = [
    (&TLS13, "AES_256_GCM_SHA384"),
    (&TLS13, "CHACHA20_POLY1305_SHA256"),
    (&TLS12, "AES_128_GCM_SHA256"),
];

const NO_MODULE: &str =
    "TLS in user space: the kernel has no TLS; modprobe tls loads its module where there is one";

fn kernel_has_tls() -> bool {
    Capability::KernelTls.meet().is_ok()
}

/// Runs the test in a process whose one authority is the identity it gets.
fn alone(test: &str, run: impl FnOnce(&Identity)) {
    if std::env::var_os("UNDERPASS_ALONE").is_some() {
        let identity = Identity::new().unwrap();
        let file = std::env::var_os("SSL_CERT_FILE").unwrap();
        std::fs::write(file, identity.pem()).unwrap();
        return run(&identity);
    }
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SSL_CERT_FILE", dir.path().join("cert.pem"))
        .env("UNDERPASS_ALONE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A server that answers by path, and hands on what is put.
struct Server {
    address: SocketAddr,
    put: Receiver<Vec<u8>>,
}

impl Server {
    fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, put) = channel();
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = StreamOwned::new(connection, socket.unwrap());
                // A client that gives up is some tests' point.
                drop(serve(stream, &sender));
            }
        });
        Self { address, put }
    }

    fn url(&self, path: &str) -> Endpoint {
        Endpoint::parse(format!("https://{}/{path}", self.address).as_ref()).unwrap()
    }
}

fn serve(mut stream: Stream, put: &Sender<Vec<u8>>) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let content = payload::pattern(0..LEN);
    let length = format!("Content-Length: {LEN}");
    let (fields, content) = match (words.next(), words.next()) {
        (Some("PUT"), Some("/refused")) => {
            stream.write_all(b"HTTP/1.1 413 Too Much\r\n\r\n")?;
            // Content that is not read would reset the connection, and the answer with it.
            return io::copy(&mut stream, &mut io::sink()).map(drop);
        }
        (Some("PUT"), Some("/early")) => {
            stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 403 No\r\n\r\n")?;
            // It stays open, and nothing is read.
            std::mem::forget(stream);
            return Ok(());
        }
        (Some("PUT"), _) => {
            let mut body = Vec::new();
            match head.split("Content-Length: ").nth(1).and_then(|rest| rest.lines().next()) {
                Some(len) => {
                    (&mut stream).take(len.parse().unwrap()).read_to_end(&mut body)?;
                }
                None => body = chunks(&mut stream)?,
            }
            put.send(body).unwrap();
            ("Content-Length: 0".to_owned(), Vec::new())
        }
        (_, Some("/length")) => (length, content),
        (_, Some("/ranges")) => return range(&mut stream, &head),
        (_, Some("/short")) => (length, payload::pattern(0..LEN / 2)),
        (_, Some("/chunked")) => {
            let chunk = [b"12d687\r\n", content.as_slice(), b"\r\n0\r\n\r\n"].concat();
            ("Transfer-Encoding: chunked".to_owned(), chunk)
        }
        _ => ("Connection: close".to_owned(), content),
    };
    write!(stream, "HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")?;
    stream.write_all(&content)?;
    if !head.starts_with("GET /cut") {
        stream.conn.send_close_notify();
    }
    stream.flush()
}

/// What a request with a range is answered, of content that is longer.
fn range(stream: &mut Stream, head: &str) -> io::Result<()> {
    let asked = head.split("Range: bytes=").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let (first, last) = asked.split_once('-').unwrap();
    let first: u64 = first.parse().unwrap();
    let end = last.parse().map_or(LONG, |last: u64| last + 1);
    let len = end - first;
    write!(
        stream,
        "HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-{}/{LONG}\r\nETag: \"1\"\r\n\
         Content-Length: {len}\r\n\r\n",
        end - 1,
    )?;
    stream.write_all(&payload::pattern(first..end))?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn chunks(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let len = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).unwrap();
        let mut chunk = vec![0; len + 2];
        stream.read_exact(&mut chunk)?;
        if len == 0 {
            return Ok(body);
        }
        body.extend_from_slice(&chunk[..len]);
    }
}

fn copied(
    source: Endpoint,
    sink: Endpoint,
    change: impl FnOnce(&mut Request),
) -> Result<Report, Box<Failure>> {
    let mut request = Request::new(source, sink);
    change(&mut request);
    let interrupt = Interrupt::never().unwrap();
    Session::open(request, &interrupt, &mut |_| {}).unwrap().copy(&mut |_| {})
}

fn path(path: &Path) -> Endpoint {
    Endpoint::Path(path.to_owned())
}

#[test]
fn ranges_over_several_connections_are_each_spliced() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let server = Server::start(identity.server(KINDS[0]).unwrap());
        let several = |request: &mut Request| request.parallel = 3.try_into().unwrap();
        let report = copied(server.url("ranges"), path(&to), several).unwrap();
        assert_eq!(payload::difference(&std::fs::read(&to).unwrap(), 0, LONG), None);
        let through = if kernel_has_tls() { 0 } else { LONG };
        assert_eq!((report.bytes, report.through_user_space), (LONG, through), "{report}");
    });
}

/// What the report must say of content that the kernel could move by `method`.
fn assert_beneath(report: &Report, method: Method) {
    assert_eq!(report.bytes, LEN);
    let [used, ..] = &report.methods[..] else { panic!("no method: {report}") };
    if kernel_has_tls() {
        assert_eq!((used.method, used.bytes), (method.name(), LEN), "{report}");
        assert_eq!((report.through_user_space, report.fallbacks.len()), (0, 0), "{report}");
    } else {
        assert_eq!((used.method, used.bytes), ("copy", LEN), "{report}");
        assert_eq!(report.through_user_space, LEN, "{report}");
        assert_eq!(report.fallbacks, [NO_MODULE]);
    }
}

#[test]
fn content_is_spliced_out_of_the_kernels_tls_or_said_to_have_passed_through_user_space() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        for kind in KINDS {
            let server = Server::start(identity.server(kind).unwrap());
            for name in ["length", "until-close"] {
                let report = copied(server.url(name), path(&to), |_| {}).unwrap();
                assert_beneath(&report, Method::Splice);
                let arrived = std::fs::read(&to).unwrap();
                assert_eq!(payload::difference(&arrived, 0, LEN), None, "{name} {kind:?}");
            }
        }
    });
}

#[test]
fn a_file_is_put_by_sendfile_into_the_kernels_tls_or_said_to_have_passed_through_user_space() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::write(&from, payload::pattern(0..LEN)).unwrap();
        for kind in KINDS {
            let server = Server::start(identity.server(kind).unwrap());
            let report = copied(path(&from), server.url("put"), |_| {}).unwrap();
            assert_beneath(&report, Method::Sendfile);
            let arrived = server.put.recv().unwrap();
            assert_eq!(payload::difference(&arrived, 0, LEN), None, "{kind:?}");
        }
        let server = Server::start(identity.server(KINDS[0]).unwrap());
        let failure = copied(path(&from), server.url("refused"), |_| {}).unwrap_err();
        assert!(matches!(failure.error, CopyError::Status { status: 413, .. }), "{failure:?}");
    });
}

#[test]
fn an_answer_ends_a_put_that_nobody_reads_or_closes_beneath_tls_and_above() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::File::create(&from).unwrap().set_len(1 << 30).unwrap();
        for kind in KINDS {
            for source in [&from, Path::new("/dev/zero")] {
                let server = Server::start(identity.server(kind).unwrap());
                let failure = copied(path(source), server.url("early"), |request| {
                    request.timeouts.idle = Some(Duration::from_secs(10));
                });
                let failure = failure.unwrap_err();
                assert!(
                    matches!(failure.error, CopyError::Status { status: 403, .. }),
                    "{kind:?}: {failure:?}"
                );
            }
        }
    });
}

#[test]
fn chunks_are_framed_in_user_space_and_whole() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let server = Server::start(identity.server(KINDS[0]).unwrap());
        let report = copied(server.url("chunked"), path(&to), |_| {}).unwrap();
        assert_eq!((report.bytes, report.through_user_space), (LEN, LEN), "{report}");
        assert_eq!(payload::difference(&std::fs::read(&to).unwrap(), 0, LEN), None);
        let report = copied(server.url("chunked"), server.url("put"), |_| {}).unwrap();
        assert_eq!((report.bytes, report.methods[0].method), (LEN, "copy"), "{report}");
        let arrived = server.put.recv().unwrap();
        assert_eq!(payload::difference(&arrived, 0, LEN), None);
    });
}

#[test]
fn a_connection_cut_without_close_notify_or_before_the_length_leaves_no_file() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        for kind in KINDS {
            let server = Server::start(identity.server(kind).unwrap());
            for (name, why) in [("cut", "close_notify"), ("short", "are missing")] {
                let failure = copied(server.url(name), path(&to), |_| {}).unwrap_err();
                let mut said = failure.error.to_string();
                let mut cause = std::error::Error::source(&failure.error);
                while let Some(error) = cause {
                    said = format!("{said}: {error}");
                    cause = error.source();
                }
                assert!(said.contains(why), "{name}: {said}");
                assert!(!to.exists(), "{name}");
            }
        }
    });
}

#[test]
fn a_method_is_had_where_the_kernel_has_tls_and_refused_with_the_reason_elsewhere() {
    alone(test_name!(), |identity| {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, payload::pattern(0..LEN)).unwrap();
        let server = Server::start(identity.server(KINDS[0]).unwrap());
        for (source, sink, method) in [
            (server.url("length"), path(&to), Method::Splice),
            (path(&from), server.url("put"), Method::Sendfile),
        ] {
            let only = |method| {
                copied(source.clone(), sink.clone(), |request| {
                    request.policy = Policy::Only(method);
                    request.limit_bytes_per_s = Some(20_000_000);
                })
            };
            match only(method) {
                Ok(report) => assert_beneath(&report, method),
                Err(failure) => {
                    assert!(!kernel_has_tls(), "{failure:?}");
                    let CopyError::Usage(Usage::Beneath { why, .. }) = &failure.error else {
                        panic!("{failure:?}")
                    };
                    assert_eq!(why, NO_MODULE);
                    assert!(!to.exists());
                }
            }
            let report = only(Method::Copy).unwrap();
            assert_eq!((report.through_user_space, report.bytes), (LEN, LEN), "{report}");
            let prefer = |request: &mut Request| request.policy = Policy::Prefer(method);
            let report = copied(source.clone(), sink.clone(), prefer).unwrap();
            assert_beneath(&report, method);
            drop(std::fs::remove_file(&to));
        }
    });
}
