//! TLS connections under tokio: hyper above, and curl, openssl and rustls at the other end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpListener as StdListener;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConnection, ServerConfig, StreamOwned};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use underpass::tls::{TlsError, TlsStream};
use underpass::{Method, Sink, Source, Transfer};
use underpass_testkit::payload::{difference, pattern};
use underpass_testkit::require;
use underpass_testkit::skip::Capability;
use underpass_testkit::tls::{Identity, Kind, NAME};

use crate::tls::{By, Gathering, KINDS, map, permitting};

#[expect(dead_code, reason = "its main is for those who run it")]
#[path = "../../examples/https.rs"]
mod https;

type Peer = StreamOwned<ClientConnection, Gathering>;

/// More than the sockets and TLS hold together.
const LONG: u64 = 8 << 20;

fn server(identity: &Identity, kind: Kind, by: By) -> Arc<ServerConfig> {
    let mut config = identity.server(kind).unwrap();
    Arc::get_mut(&mut config).unwrap().enable_secret_extraction = by == By::Kernel;
    config
}

/// A server's connection, and what a client on a thread makes of it.
async fn accepted<T: Send + 'static>(
    kind: Kind,
    by: By,
    client: impl FnOnce(Peer) -> T + Send + 'static,
) -> (TlsStream, std::thread::JoinHandle<T>) {
    let identity = Identity::new().unwrap();
    let config = identity.client(kind).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = std::thread::spawn(move || {
        let connection = ClientConnection::new(config, NAME.try_into().unwrap()).unwrap();
        let socket = std::net::TcpStream::connect(address).unwrap();
        client(StreamOwned::new(connection, Gathering::new(socket)))
    });
    let socket = listener.accept().await.unwrap().0;
    let stream = TlsStream::accept(server(&identity, kind, by), socket).await.unwrap();
    assert_eq!(stream.is_in_kernel(), by == By::Kernel, "{:?}", stream.unavailable());
    (stream, client)
}

fn patterned(dir: &Path, len: u64) -> File {
    let path = dir.join("file");
    std::fs::write(&path, pattern(0..len)).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

/// Serves `body` by hyper to all who come, by the version of HTTP that they negotiate.
async fn serve(listener: TcpListener, config: Arc<ServerConfig>, body: Bytes) {
    loop {
        let socket = listener.accept().await.unwrap().0;
        let (config, body) = (Arc::clone(&config), body.clone());
        tokio::spawn(async move {
            let stream = TlsStream::accept(config, socket).await.unwrap();
            let is_h2 = stream.negotiated().alpn.as_deref() == Some(b"h2");
            let io = TokioIo::new(stream);
            let answer = service_fn(move |_| {
                let body = Full::new(body.clone());
                async move { Ok::<_, std::convert::Infallible>(hyper::Response::new(body)) }
            });
            // A client that leaves is its own affair.
            if is_h2 {
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                drop(http.serve_connection(io, answer).await);
            } else {
                drop(hyper::server::conn::http1::Builder::new().serve_connection(io, answer).await);
            }
        });
    }
}

/// What curl gets, twice over one connection.
async fn curl(dir: &Path, port: u16, arguments: &[&str]) -> Vec<u8> {
    let url = format!("https://{NAME}:{port}/");
    let output = Command::new("curl")
        .args(["-sS", "--fail", "--max-time", "120", "--cacert"])
        .arg(dir.join("cert.pem"))
        .args(["--resolve", &format!("{NAME}:{port}:127.0.0.1"), "-o"])
        .arg(dir.join("first"))
        .args(arguments)
        .args([&url, "-o"])
        .arg(dir.join("second"))
        .arg(&url)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let first = std::fs::read(dir.join("first")).unwrap();
    assert!(first == std::fs::read(dir.join("second")).unwrap());
    first
}

#[tokio::test]
async fn hyper_serves_a_large_file_to_curl_by_every_version() {
    const LARGE: u64 = 64 << 20;
    require!(Capability::Program("curl"));
    let identity = Identity::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cert.pem"), identity.pem()).unwrap();
    let file = patterned(dir.path(), LARGE);
    for (kind, http) in [
        (KINDS[0], "--http1.1"),
        (KINDS[1], "--http2"),
        (KINDS[3], "--http2"),
        (KINDS[5], "--http1.1"),
    ] {
        for by in By::available() {
            let mut config = server(&identity, kind, *by);
            let names = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Arc::get_mut(&mut config).unwrap().alpn_protocols = names;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let serving = tokio::spawn(serve(listener, config, map(&file)));
            let body = curl(dir.path(), port, &[http]).await;
            assert_eq!(difference(&body, 0, LARGE), None, "{kind:?} {by:?} {http}");
            serving.abort();
        }
    }
}

#[tokio::test]
async fn the_example_serves_its_file_to_curl() {
    require!(Capability::Program("curl"));
    let identity = Identity::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&cert, identity.pem()).unwrap();
    std::fs::write(&key, identity.key_pem()).unwrap();
    let file = patterned(dir.path(), LONG);
    let config = https::config(cert.to_str().unwrap(), key.to_str().unwrap()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(https::serve(listener, config, file));
    let body = curl(dir.path(), port, &[]).await;
    assert_eq!(difference(&body, 0, LONG), None);
    serving.abort();
}

#[tokio::test]
async fn openssl_is_a_server_and_a_client() {
    require!(Capability::Program("openssl"));
    let identity = Identity::new().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
    std::fs::write(&cert, identity.pem()).unwrap();
    std::fs::write(&key, identity.key_pem()).unwrap();
    let mut openssl = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-cert"])
        .arg(&cert)
        .arg("-key")
        .arg(&key)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(openssl.stdout.take().unwrap()).lines();
    let address = loop {
        let line = said.next_line().await.unwrap().unwrap();
        if let Some(address) = line.strip_prefix("ACCEPT ") {
            break address.to_owned();
        }
    };
    for kind in KINDS {
        for by in By::available() {
            let config = permitting(&identity.client(kind).unwrap(), *by == By::Kernel);
            let socket = TcpStream::connect(&address).await.unwrap();
            let name = NAME.try_into().unwrap();
            let mut stream = TlsStream::connect(config, name, socket).await.unwrap();
            assert_eq!(stream.is_in_kernel(), *by == By::Kernel, "{:?}", stream.unavailable());
            assert!(stream.negotiated().peer_certificates.is_some());
            stream.write_all(b"underpass\n").await.unwrap();
            stream.flush().await.unwrap();
            let mut answer = [0; 10];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"ssaprednu\n", "{kind:?} {by:?}");
            stream.shutdown().await.unwrap();
        }
    }
    for by in By::available() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut openssl = Command::new("openssl")
            .args(["s_client", "-quiet", "-verify_return_error", "-CAfile"])
            .arg(&cert)
            .args(["-connect", &listener.local_addr().unwrap().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        openssl.stdin.as_mut().unwrap().write_all(b"ping").await.unwrap();
        let socket = listener.accept().await.unwrap().0;
        let config = server(&identity, KINDS[0], *by);
        let mut stream = TlsStream::accept(config, socket).await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        stream.write_all(b"pong").await.unwrap();
        stream.shutdown().await.unwrap();
        let output = openssl.wait_with_output().await.unwrap();
        assert_eq!((&heard, &output.stdout[..]), (b"ping", &b"pong"[..]), "{by:?}");
    }
}

#[tokio::test]
async fn content_that_comes_with_finished_is_read_and_either_end_may_end_first() {
    for kind in KINDS {
        for by in By::available() {
            let (mut stream, client) = accepted(kind, *by, |mut peer| {
                // With Finished in one packet, and the end too.
                peer.write_all(b"early bird").unwrap();
                peer.conn.send_close_notify();
                peer.flush().unwrap();
                peer.sock.send();
                let mut answer = Vec::new();
                peer.read_to_end(&mut answer).unwrap();
                answer
            })
            .await;
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, b"early bird", "{kind:?} {by:?}");
            // The end lasts; what this end sends is another matter.
            assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
            stream.write_all(b"worm").await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(client.join().unwrap(), b"worm", "{kind:?} {by:?}");
        }
    }
}

#[tokio::test]
async fn a_slow_reader_gets_the_last_byte_and_the_end() {
    for kind in [KINDS[0], KINDS[3]] {
        for by in By::available() {
            let (go, may_read) = mpsc::channel::<()>();
            let (mut stream, client) = accepted(kind, *by, move |mut peer| {
                peer.write_all(b"!").unwrap();
                peer.flush().unwrap();
                peer.sock.send();
                may_read.recv().unwrap();
                let mut got = Vec::new();
                peer.read_to_end(&mut got).map(|_| got)
            })
            .await;
            stream.read_exact(&mut [0]).await.unwrap();
            // A write or shutdown that is pending has met a full buffer.
            let content = pattern(0..LONG);
            let mut left = &content[..];
            while let Ok(n) = tokio::time::timeout(Duration::ZERO, stream.write(left)).await {
                left = &left[n.unwrap()..];
            }
            let sent = content.len() - left.len();
            let shut = tokio::time::timeout(Duration::ZERO, stream.shutdown()).await;
            assert!(shut.is_err(), "the socket had room for all: {kind:?} {by:?}");
            go.send(()).unwrap();
            stream.shutdown().await.unwrap();
            drop(stream);
            let got = client.join().unwrap().unwrap();
            assert_eq!(difference(&got, 0, sent as u64), None, "{kind:?} {by:?}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_cut_or_written_to_on_its_way_is_never_completed() {
    let changes: [fn(&File); 2] =
        [|file| file.set_len(9).unwrap(), |file| file.write_all_at(b"torn", LONG - 4).unwrap()];
    for (by, change) in By::available().iter().flat_map(|by| changes.map(|change| (*by, change))) {
        let dir = tempfile::tempdir().unwrap();
        let file = patterned(dir.path(), LONG);
        let (go, may_read) = mpsc::channel::<()>();
        let (mut stream, client) = accepted(KINDS[0], by, move |mut peer| {
            peer.write_all(b"!").unwrap();
            peer.flush().unwrap();
            peer.sock.send();
            may_read.recv().unwrap();
            let mut got = Vec::new();
            let end = peer.read_to_end(&mut got);
            (got, end)
        })
        .await;
        stream.read_exact(&mut [0]).await.unwrap();
        let mut body = map(&file);
        while let Ok(n) = tokio::time::timeout(Duration::ZERO, stream.write(&body)).await {
            drop(body.split_to(n.unwrap()));
        }
        change(&file);
        go.send(()).unwrap();
        let error = stream.write_all(&body).await.unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<underpass::Error>()), "{error:?}");
        stream.shutdown().await.unwrap();
        drop(stream);
        let (got, end) = client.join().unwrap();
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{by:?}");
        assert!((got.len() as u64) < LONG, "{by:?}");
        assert_eq!(difference(&got, 0, got.len() as u64), None, "{by:?}");
    }
}

#[tokio::test]
async fn a_cut_connection_and_in_the_kernel_new_keys_are_errors_by_name() {
    for by in By::available() {
        let (mut stream, client) = accepted(KINDS[0], *by, |mut peer| {
            // A socket that its peer has closed takes no upper layer protocol.
            peer.read_exact(&mut [0]).unwrap();
            peer.write_all(b"abc").unwrap();
            peer.conn.refresh_traffic_keys().unwrap();
            peer.write_all(b"def").unwrap();
            peer.flush().unwrap();
            peer.sock.send();
        })
        .await;
        stream.write_all(b"!").await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = Vec::new();
        let error = stream.read_to_end(&mut heard).await.unwrap_err();
        let reason = *error.get_ref().unwrap().downcast_ref::<TlsError>().unwrap();
        let wanted = match by {
            By::Kernel => (TlsError::KeyUpdate, &b"abc"[..]),
            By::Rustls => (TlsError::CutShort, &b"abcdef"[..]),
        };
        assert_eq!((reason, &heard[..]), wanted);
        client.join().unwrap();
    }
}

#[tokio::test]
async fn transfers_take_it_as_source_and_sink() {
    let dir = tempfile::tempdir().unwrap();
    let file = patterned(dir.path(), LONG);
    for kind in [KINDS[0], KINDS[3]] {
        for by in By::available() {
            let (mut stream, client) = accepted(kind, *by, |mut peer| {
                peer.write_all(&pattern(0..LONG)).unwrap();
                peer.conn.send_close_notify();
                peer.flush().unwrap();
                peer.sock.send();
                let mut got = Vec::new();
                peer.read_to_end(&mut got).map(|_| got)
            })
            .await;
            let to = tempfile::NamedTempFile::new().unwrap();
            // What the first has decrypted and not taken is there for the second.
            let mut first = Transfer::new(stream.source().take(1), Sink::file(&to, 0));
            assert_eq!(first.drive().await, Ok(1));
            drop(first);
            let mut rest = Transfer::new(stream.source(), Sink::file(&to, 1));
            assert_eq!(rest.drive().await, Ok(LONG - 1), "{kind:?} {by:?}");
            drop(rest);
            let came = std::fs::read(to.path()).unwrap();
            assert_eq!(difference(&came, 0, LONG), None, "{kind:?} {by:?}");
            let mut sent = Transfer::new(Source::file(&file, ..).unwrap(), stream.sink());
            assert_eq!(sent.drive().await, Ok(LONG), "{kind:?} {by:?}");
            let by_reference = if *by == By::Kernel { LONG } else { 0 };
            assert_eq!(sent.ledger().of(Method::Sendfile).bytes, by_reference);
            drop(sent);
            stream.shutdown().await.unwrap();
            let got = client.join().unwrap().unwrap();
            assert_eq!(difference(&got, 0, LONG), None, "{kind:?} {by:?}");
        }
    }
}

#[tokio::test]
async fn a_handshake_that_ends_early_or_never_ends_is_the_callers_to_give_up() {
    let identity = Identity::new().unwrap();
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = || async {
        let socket = TcpStream::connect(address).await.unwrap();
        let config = identity.client(KINDS[0]).unwrap();
        TlsStream::connect(config, NAME.try_into().unwrap(), socket).await
    };
    let waited = tokio::time::timeout(Duration::from_millis(10), connect()).await;
    assert!(waited.is_err(), "no one has answered");
    let closing = std::thread::spawn(move || {
        // The first is the one that was given up.
        drop(listener.accept().unwrap());
        let socket = listener.accept().unwrap().0;
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        socket
    });
    assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    drop(closing.join().unwrap());
}
