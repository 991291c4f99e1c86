//! Blocking TLS connections with rustls at the other end, in the kernel where it has TLS and in
//! user space in every case.

use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ServerConnection, StreamOwned};
use underpass::tls::{BlockingTlsStream, TlsError, Unavailable};
use underpass::{
    ErrorKind, FileBytes, Kind as EndKind, Method, Policy, Sink, Source, Stability, Step, Transfer,
};
use underpass_testkit::payload;
use underpass_testkit::require;
use underpass_testkit::skip::{Capability::KernelTls, Requirement};
use underpass_testkit::tls::{Identity, Kind, NAME};

const LEN: u64 = 1_234_567;

pub(crate) const KINDS: [Kind; 6] = [
    (&TLS13, "AES_128_GCM_SHA256"),
    (&TLS13, "AES_256_GCM_SHA384"),
    (&TLS13, "CHACHA20_POLY1305_SHA256"),
    (&TLS12, "AES_128_GCM_SHA256"),
    (&TLS12, "AES_256_GCM_SHA384"),
    (&TLS12, "CHACHA20_POLY1305_SHA256"),
];

/// The whole file as bytes to be sent.
#[expect(unsafe_code, reason = "bytes of files that change are what is tested")]
pub(crate) fn map(file: &File) -> Bytes {
    let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Guard).unwrap();
    // SAFETY: `FileBytes::into_bytes`, "no one reads the bytes": a TLS stream sends the file's.
    unsafe { mapped.into_bytes() }
}

type Server = StreamOwned<ServerConnection, Recorded>;
type Client = BlockingTlsStream<TcpStream>;

/// Who makes the client's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Kernel,
    Rustls,
}

impl By {
    /// Those that this machine has.
    pub(crate) fn available() -> &'static [Self] {
        if KernelTls.meet().is_ok() { &[Self::Rustls, Self::Kernel] } else { &[Self::Rustls] }
    }
}

/// A socket that keeps what was read from it.
struct Recorded(TcpStream, Arc<Mutex<Vec<u8>>>);

impl Read for Recorded {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let n = self.0.read(into)?;
        self.1.lock().unwrap().extend_from_slice(&into[..n]);
        Ok(n)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A client's configuration that lets the kernel have the connection, or does not.
pub(crate) fn permitting(config: &ClientConfig, may_extract: bool) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.enable_secret_extraction = may_extract;
    Arc::new(config)
}

/// A client after its handshake, and a server that continues on a thread. With the bytes that the
/// server's socket received.
fn shaken<T: Send + 'static>(
    kind: Kind,
    by: By,
    serve: impl FnOnce(Server) -> T + Send + 'static,
) -> (Client, JoinHandle<T>, Arc<Mutex<Vec<u8>>>) {
    let identity = Identity::new().unwrap();
    let (server, client) = (identity.server(kind).unwrap(), identity.client(kind).unwrap());
    let client = permitting(&client, by == By::Kernel);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let wire = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&wire);
    let server = std::thread::spawn(move || {
        let mut socket = Recorded(listener.accept().unwrap().0, recorded);
        let mut connection = ServerConnection::new(server).unwrap();
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        serve(StreamOwned::new(connection, socket))
    });
    let socket = TcpStream::connect(address).unwrap();
    let client = Client::connect(client, NAME.try_into().unwrap(), socket).unwrap();
    assert_eq!(client.is_in_kernel(), by == By::Kernel, "{:?}", client.unavailable());
    (client, server, wire)
}

fn patterned(len: u64) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&payload::pattern(0..len)).unwrap();
    file
}

/// Sends everything back once it has come, and ends.
fn echo(mut server: Server) -> Vec<u8> {
    let mut bytes = Vec::new();
    // rustls answers `UnexpectedEof` to an end without close_notify.
    server.read_to_end(&mut bytes).unwrap();
    server.write_all(&bytes).unwrap();
    server.conn.send_close_notify();
    server.flush().unwrap();
    bytes
}

#[test]
fn a_file_leaves_and_comes_back_in_every_version_and_cipher() {
    let file = patterned(LEN);
    for kind in KINDS {
        for by in By::available() {
            let (stream, server, _) = shaken(kind, *by, echo);
            let (out, back) = match by {
                By::Kernel => (Method::Sendfile, Method::Splice),
                By::Rustls => (Method::Copy, Method::Copy),
            };
            let source = Source::file(&file, ..).unwrap();
            let mut sent = Transfer::new(source, stream.sink());
            assert_eq!(sent.run(), Ok(LEN), "{kind:?} {by:?}");
            assert_eq!(sent.ledger().of(out).bytes, LEN);
            stream.close_notify().unwrap();
            let to = tempfile::NamedTempFile::new().unwrap();
            let mut came = Transfer::new(stream.source(), Sink::file(&to, 0));
            assert_eq!(came.run(), Ok(LEN), "{kind:?} {by:?}");
            assert_eq!(came.ledger().of(back).bytes, LEN);
            // The peer's end lasts, although its socket is open.
            drop(came);
            let again = Transfer::new(stream.source(), Sink::file(&to, LEN)).run();
            assert_eq!(again, Ok(0), "{kind:?} {by:?}");
            let (arrived, back) = (server.join().unwrap(), std::fs::read(to.path()).unwrap());
            assert_eq!(payload::difference(&arrived, 0, LEN), None, "{kind:?} {by:?}");
            assert_eq!(payload::difference(&back, 0, LEN), None, "{kind:?} {by:?}");
        }
    }
}

#[test]
fn every_method_there_is_puts_the_same_bytes_behind_a_head() {
    require!(KernelTls);
    let file = patterned(LEN);
    for &method in Method::ALL {
        let (stream, server, _) = shaken(KINDS[0], By::Kernel, echo);
        let source = Source::file(&file, ..).unwrap();
        let mut sent = Transfer::new(Source::bytes("PUT "), stream.sink())
            .chain(source)
            .policy(Policy::Prefer(method));
        assert_eq!(sent.run(), Ok(LEN + 4), "{method}");
        stream.close_notify().unwrap();
        let arrived = server.join().unwrap();
        assert_eq!(arrived[..4], *b"PUT ", "{method}");
        assert_eq!(payload::difference(&arrived[4..], 0, LEN), None, "{method}");
    }
}

#[test]
fn in_user_space_only_copying_is_possible_and_a_demand_for_more_is_refused() {
    let file = patterned(LEN);
    let (stream, server, _) = shaken(KINDS[0], By::Rustls, echo);
    for &method in Method::ALL {
        let source = Source::file(&file, ..9).unwrap();
        let mut sent = Transfer::new(source, stream.sink()).policy(Policy::Only(method));
        if method == Method::Copy {
            assert_eq!(sent.run(), Ok(9));
        } else {
            let (source, sink) = (EndKind::File, EndKind::Tls);
            let refused = ErrorKind::Unsupported { source, sink, errno: None };
            assert_eq!(sent.run().unwrap_err().kind, refused, "{method}");
        }
    }
    stream.close_notify().unwrap();
    assert_eq!(payload::difference(&server.join().unwrap(), 0, 9), None);
}

#[test]
fn a_transfer_is_done_once_the_socket_has_all_its_records() {
    // What fits while no one reads, then about as much: the end of one of those waits in rustls.
    let mut fits = 8 * LEN;
    for more in [0, 0, 16_384, 32_768, 49_152, 65_536] {
        let len = fits + more;
        let file = patterned(len);
        let (go, may_read) = mpsc::channel::<()>();
        let (stream, server, _) = shaken(KINDS[0], By::Rustls, move |mut server| {
            may_read.recv().unwrap();
            let mut bytes = Vec::new();
            server.read_to_end(&mut bytes).map(|_| bytes)
        });
        // A size that is set stays as it is.
        rustix::net::sockopt::set_socket_send_buffer_size(stream.socket(), 65_536).unwrap();
        stream.socket().set_nonblocking(true).unwrap();
        let mut sent = Transfer::new(Source::file(&file, ..).unwrap(), stream.sink());
        let is_done = loop {
            let step = sent.step().unwrap();
            if matches!(step, Step::Wait(_) | Step::Done) {
                break step == Step::Done;
            }
        };
        fits = if more == 0 { sent.moved() } else { fits };
        assert!(!is_done || stream.flush().is_ok(), "done with records in rustls");
        go.send(()).unwrap();
        assert_eq!(sent.run(), Ok(len));
        stream.flush().unwrap();
        stream.socket().set_nonblocking(false).unwrap();
        stream.close_notify().unwrap();
        let bytes = server.join().unwrap().unwrap();
        assert_eq!(payload::difference(&bytes, 0, len), None);
    }
}

#[test]
fn content_comes_through_pipes_and_sockets_of_any_size() {
    let serve = |mut server: Server| {
        server.write_all(&payload::pattern(0..1_000_000)).unwrap();
        server.conn.send_close_notify();
        server.flush().unwrap();
    };
    for (capacity, by) in
        [4096, 8192, 65_536].into_iter().flat_map(|n| By::available().iter().map(move |by| (n, by)))
    {
        let (stream, server, _) = shaken(KINDS[0], *by, serve);
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, capacity).unwrap();
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut transfer = Transfer::new(stream.source(), Sink::stream(&writer));
        assert_eq!(transfer.run(), Ok(1_000_000));
        drop(transfer);
        drop(writer);
        let bytes = reading.join().unwrap();
        assert_eq!(payload::difference(&bytes, 0, 1_000_000), None, "{capacity} {by:?}");
        server.join().unwrap();
    }
}

/// Explicit nonces of the records that a client sent encrypted under TLS 1.2 with AES-GCM.
fn explicit_nonces(mut wire: &[u8]) -> Vec<[u8; 8]> {
    let (mut nonces, mut is_encrypted) = (Vec::new(), false);
    while let [kind, _, _, high, low, rest @ ..] = wire {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (record, behind) = rest.split_at(len);
        if is_encrypted {
            nonces.push(record[..8].try_into().unwrap());
        }
        is_encrypted |= *kind == 20;
        wire = behind;
    }
    nonces
}

#[test]
fn no_nonce_of_the_handshake_is_used_again() {
    for kind in [KINDS[3], KINDS[4]] {
        for by in By::available() {
            let (mut stream, server, wire) = shaken(kind, *by, |mut server| {
                let mut bytes = Vec::new();
                server.read_to_end(&mut bytes).unwrap();
            });
            for _ in 0..100 {
                stream.write_all(b"underpass").unwrap();
            }
            stream.close_notify().unwrap();
            server.join().unwrap();
            let mut nonces = explicit_nonces(&wire.lock().unwrap());
            // Finished, a hundred records and the alert.
            assert_eq!(nonces.len(), 102, "{kind:?} {by:?}");
            nonces.sort_unstable();
            nonces.dedup();
            assert_eq!(nonces.len(), 102, "a nonce was used twice: {kind:?} {by:?}");
        }
    }
}

/// Sends one record of this type, which no TLS library would.
fn send_record(socket: BorrowedFd<'_>, kind: u8, content: &[u8]) {
    underpass_sys::tls::send_record(socket, kind, content).unwrap();
}

#[test]
fn an_alert_and_new_keys_end_a_transfer_by_their_names() {
    require!(KernelTls);
    for kind in [KINDS[0], KINDS[3]] {
        let (stream, server, _) = shaken(kind, By::Kernel, |mut server| {
            // The handshake is over: what comes now is not part of it.
            server.write_all(b"!").unwrap();
            server.flush().unwrap();
            // What the client has sent is not a handshake message that can be.
            server.read(&mut [0; 9]).unwrap_err()
        });
        assert_eq!(stream.receive(&mut [0]).unwrap(), 1);
        send_record(stream.socket().as_fd(), 22, &[99, 0, 0, 0]);
        let error = failure(&stream);
        assert!(matches!(error.kind, ErrorKind::Tls(TlsError::Alert(_))), "{error}");
        assert_eq!(server.join().unwrap().kind(), IoErrorKind::InvalidData);
    }
    let (stream, server, _) = shaken(KINDS[0], By::Kernel, new_keys);
    let error = failure(&stream);
    assert_eq!((error.kind, error.moved), (ErrorKind::Tls(TlsError::KeyUpdate), 3));
    drop(server.join().unwrap());
}

#[test]
fn a_mapped_file_that_was_cut_is_an_error_and_not_zeros() {
    for by in By::available() {
        let (mut stream, server, _) = shaken(KINDS[0], *by, |mut server| {
            let mut got = Vec::new();
            server.read_to_end(&mut got).map_err(|error| (got, error.kind()))
        });
        let file = patterned(LEN);
        let body = map(file.as_file());
        stream.write_all(&body[..100_000]).unwrap();
        file.as_file().set_len(200_000).unwrap();
        let error = stream.write_all(&body[100_000..]).unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<underpass::Error>()), "{error:?}");
        stream.socket().shutdown(Shutdown::Write).unwrap();
        let (got, end) = server.join().unwrap().unwrap_err();
        assert_eq!(end, IoErrorKind::UnexpectedEof);
        assert_eq!(payload::difference(&got, 0, got.len() as u64), None, "{by:?}");
        assert!((100_000..=200_000).contains(&got.len()), "{by:?}: {}", got.len());
    }
}

fn failure(stream: &Client) -> underpass::Error {
    let to = tempfile::tempfile().unwrap();
    Transfer::new(stream.source(), Sink::file(&to, 0)).run().unwrap_err()
}

/// Changes its keys between two pieces of content.
fn new_keys(mut server: Server) -> TcpStream {
    server.write_all(b"abc").unwrap();
    server.conn.refresh_traffic_keys().unwrap();
    server.write_all(b"def").unwrap();
    server.conn.send_close_notify();
    server.flush().unwrap();
    server.sock.0
}

#[test]
fn a_connection_that_is_cut_is_an_error_in_the_kernel_and_in_user_space() {
    for kind in [KINDS[0], KINDS[3]] {
        for by in By::available() {
            let (mut stream, server, _) = shaken(kind, *by, |mut server| {
                // A socket that the peer has closed takes no upper layer protocol.
                server.read_exact(&mut [0]).unwrap();
                server.write_all(b"abc").unwrap();
                server.flush().unwrap();
            });
            stream.write_all(b"!").unwrap();
            stream.flush().unwrap();
            let error = failure(&stream);
            let cut = ErrorKind::Tls(TlsError::CutShort);
            assert_eq!((error.kind, error.moved), (cut, 3), "{kind:?} {by:?}");
            let error = stream.receive(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), IoErrorKind::UnexpectedEof);
            server.join().unwrap();
        }
    }
}

#[test]
fn rustls_follows_new_keys_and_names_a_forged_record() {
    let (stream, server, _) = shaken(KINDS[0], By::Rustls, new_keys);
    let to = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(Transfer::new(stream.source(), Sink::file(&to, 0)).run(), Ok(6));
    assert_eq!(std::fs::read(to.path()).unwrap(), b"abcdef");
    drop(server.join().unwrap());
    for (record, wanted) in [
        // What is not sealed by the peer's key.
        ([&[23, 3, 3, 0, 20][..], &[7; 20]].concat(), ErrorKind::Io(rustix::io::Errno::BADMSG)),
        // A record longer than there are any.
        (vec![23, 3, 3, 0xff, 0xff], ErrorKind::Tls(TlsError::Protocol)),
    ] {
        let (stream, server, _) = shaken(KINDS[0], By::Rustls, move |mut server| {
            server.sock.0.write_all(&record).unwrap();
            server.sock.0
        });
        assert_eq!(failure(&stream).kind, wanted);
        drop(server.join().unwrap());
    }
}

#[test]
fn what_was_peeked_at_is_received_next() {
    for by in By::available() {
        let (stream, server, _) = shaken(KINDS[0], *by, |mut server| {
            server.write_all(b"head, body").unwrap();
            server.conn.send_close_notify();
            server.flush().unwrap();
            server
        });
        let mut server = server.join().unwrap();
        let mut block = [0; 100];
        for room in [4, 100] {
            assert_eq!(stream.peek(&mut block[..room]).unwrap(), room.min(10), "{by:?}");
            assert_eq!(&block[..4], b"head");
        }
        let mut all = Vec::new();
        while let n @ 1.. = stream.receive(&mut block[..3]).unwrap() {
            all.extend_from_slice(&block[..n]);
        }
        assert_eq!(all, b"head, body", "{by:?}");
        assert_eq!(stream.peek(&mut block).unwrap(), 0);
        // The peer has ended what it sends, and reads on.
        stream.send(b"still here").unwrap();
        stream.close_notify().unwrap();
        let mut heard = Vec::new();
        server.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"still here", "{by:?}");
    }
}

#[test]
fn two_threads_send_and_receive_at_the_same_time() {
    const LONG: u64 = 8 << 20;
    for (by, sends_first) in By::available().iter().flat_map(|by| [(*by, true), (*by, false)]) {
        // One of the client's threads waits until the other has done its part.
        let (stream, server, _) = shaken(KINDS[0], by, move |mut server| {
            let mut bytes = vec![0; usize::try_from(LONG).unwrap()];
            if !sends_first {
                server.read_exact(&mut bytes).unwrap();
            }
            server.write_all(&payload::pattern(0..LONG)).unwrap();
            server.flush().unwrap();
            if sends_first {
                server.read_exact(&mut bytes).unwrap();
            }
            bytes
        });
        let received = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let content = payload::pattern(0..LONG);
                let mut left = &content[..];
                while !left.is_empty() {
                    left = &left[stream.send(left).unwrap()..];
                }
                stream.flush().unwrap();
            });
            let mut received = vec![0; usize::try_from(LONG).unwrap()];
            let mut at = 0;
            while at < received.len() {
                at += stream.receive(&mut received[at..]).unwrap();
            }
            sending.join().unwrap();
            received
        });
        stream.close_notify().unwrap();
        assert_eq!(payload::difference(&received, 0, LONG), None, "{by:?}");
        assert_eq!(payload::difference(&server.join().unwrap(), 0, LONG), None, "{by:?}");
    }
}

#[test]
fn content_that_comes_with_finished_is_all_there_for_a_server() {
    let identity = Identity::new().unwrap();
    for kind in KINDS {
        for by in By::available() {
            let client = identity.client(kind).unwrap();
            let mut server = identity.server(kind).unwrap();
            let config = Arc::get_mut(&mut server).unwrap();
            config.enable_secret_extraction = *by == By::Kernel;
            config.alpn_protocols = vec![b"x".to_vec()];
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (heard, hear) = mpsc::channel();
            let client = std::thread::spawn(move || {
                let connection =
                    rustls::ClientConnection::new(client, NAME.try_into().unwrap()).unwrap();
                let mut stream = StreamOwned::new(connection, Gathering::new(socket));
                // With Finished in one packet.
                stream.write_all(b"early ").unwrap();
                stream.write_all(b"bird").unwrap();
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                stream.sock.send();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).unwrap();
                heard.send(answer).unwrap();
            });
            let stream = Client::accept(server, listener.accept().unwrap().0).unwrap();
            assert_eq!(stream.is_in_kernel(), *by == By::Kernel, "{:?}", stream.unavailable());
            assert_eq!(stream.negotiated().server_name.as_deref(), Some(NAME));
            let to = tempfile::NamedTempFile::new().unwrap();
            let moved = Transfer::new(stream.source(), Sink::file(&to, 0)).run();
            assert_eq!(moved, Ok(10), "{kind:?} {by:?}");
            assert_eq!(std::fs::read(to.path()).unwrap(), b"early bird");
            stream.send(b"worm").unwrap();
            stream.close_notify().unwrap();
            assert_eq!(hear.recv().unwrap(), b"worm");
            client.join().unwrap();
        }
    }
}

/// Sends what is written in one piece with what follows it: only when it is read from.
pub(crate) struct Gathering(TcpStream, Vec<u8>);

impl Gathering {
    pub(crate) const fn new(socket: TcpStream) -> Self {
        Self(socket, Vec::new())
    }

    pub(crate) fn send(&mut self) {
        self.0.write_all(&self.1).unwrap();
        self.1.clear();
    }
}

impl Read for Gathering {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.send();
        self.0.read(into)
    }
}

impl Write for Gathering {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn where_the_kernel_has_no_tls_the_connection_says_so_and_works() {
    let has_tls = KernelTls.meet().is_ok();
    let identity = Identity::new().unwrap();
    let server = identity.server(KINDS[0]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let mut stream =
                Client::accept(Arc::clone(&server), listener.accept().unwrap().0).unwrap();
            assert_eq!(stream.unavailable(), Some(Unavailable::NotPermitted));
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes, b"hello");
        }
    });
    for may_extract in [true, false] {
        let client = permitting(&identity.client(KINDS[0]).unwrap(), may_extract);
        let socket = TcpStream::connect(address).unwrap();
        let mut stream = Client::connect(client, NAME.try_into().unwrap(), socket).unwrap();
        let why = match (may_extract, has_tls) {
            (false, _) => Some(Unavailable::NotPermitted),
            (true, false) => Some(Unavailable::NoModule),
            (true, true) => None,
        };
        assert_eq!((stream.unavailable(), stream.is_in_kernel()), (why, why.is_none()));
        stream.write_all(b"hello").unwrap();
        stream.flush().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), IoErrorKind::UnexpectedEof);
    }
    serving.join().unwrap();
}

#[test]
fn a_handshake_that_fails_says_why_and_one_that_waits_ends_with_the_sockets_timeout() {
    let (identity, other) = (Identity::new().unwrap(), Identity::new().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |identity: &Identity, limit_ms| {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(std::time::Duration::from_millis(limit_ms))).unwrap();
        let client = identity.client(KINDS[0]).unwrap();
        Client::connect(client, NAME.try_into().unwrap(), socket)
    };
    // No one answers.
    assert_eq!(connect(&identity, 50).unwrap_err().kind(), IoErrorKind::WouldBlock);
    drop(listener.accept().unwrap());
    let server = identity.server(KINDS[0]).unwrap();
    let serving = std::thread::spawn(move || {
        let refused = Client::accept(server, listener.accept().unwrap().0).unwrap_err();
        let (socket, _) = listener.accept().unwrap();
        socket.shutdown(Shutdown::Both).unwrap();
        // Closing it with the client's first words unread would be a reset.
        (refused, socket)
    });
    let error = connect(&other, 60_000).unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::InvalidData);
    assert!(error.to_string().contains("invalid peer certificate"), "{error}");
    assert_eq!(connect(&identity, 60_000).unwrap_err().kind(), IoErrorKind::UnexpectedEof);
    let (refused, _) = serving.join().unwrap();
    assert!(refused.to_string().contains("fatal alert"), "{refused}");
}
