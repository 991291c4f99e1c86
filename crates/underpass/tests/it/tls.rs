//! Kernel TLS with rustls at the other end: what leaves and what arrives, and what stays where it
//! was.

use std::io::{ErrorKind as IoErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use underpass::{
    ByRecord, ErrorKind, Handover, Method, Policy, Sink, Source, TlsError, TlsStream, Transfer,
    Unavailable,
};
use underpass_testkit::payload;
use underpass_testkit::require;
use underpass_testkit::skip::Capability::KernelTls;
use underpass_testkit::tls::{Identity, Kind, NAME};

const LEN: u64 = 1_234_567;

const KINDS: [Kind; 6] = [
    (&TLS13, "AES_128_GCM_SHA256"),
    (&TLS13, "AES_256_GCM_SHA384"),
    (&TLS13, "CHACHA20_POLY1305_SHA256"),
    (&TLS12, "AES_128_GCM_SHA256"),
    (&TLS12, "AES_256_GCM_SHA384"),
    (&TLS12, "CHACHA20_POLY1305_SHA256"),
];

type Server = StreamOwned<ServerConnection, Recorded>;

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

/// A client and a server after their handshake; the server goes on upon a thread.
struct Ends<T> {
    client: ClientConnection,
    socket: ByRecord<TcpStream>,
    server: JoinHandle<T>,
    /// What the server's socket received.
    wire: Arc<Mutex<Vec<u8>>>,
}

fn shaken<T: Send + 'static>(
    kind: Kind,
    serve: impl FnOnce(Server) -> T + Send + 'static,
) -> Ends<T> {
    let identity = Identity::new().unwrap();
    let (server, client) = (identity.server(kind).unwrap(), identity.client(kind).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let wire = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&wire);
    let (shake, shook) = mpsc::channel();
    let server = std::thread::spawn(move || {
        let socket = Recorded(listener.accept().unwrap().0, recorded);
        let mut connection = ServerConnection::new(server).unwrap();
        let mut socket = socket;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket).unwrap();
        }
        shake.send(()).unwrap();
        serve(StreamOwned::new(connection, socket))
    });
    let mut client = ClientConnection::new(client, NAME.try_into().unwrap()).unwrap();
    let mut socket = ByRecord::new(TcpStream::connect(address).unwrap());
    while client.is_handshaking() {
        client.complete_io(&mut socket).unwrap();
    }
    // What a client of TLS 1.3 sends at once could be read by the server with its Finished.
    shook.recv().unwrap();
    Ends { client, socket, server, wire }
}

impl<T> Ends<T> {
    fn in_the_kernel(mut self) -> (TlsStream<TcpStream>, JoinHandle<T>) {
        let handover = Handover::prepare(&mut self.client, &self.socket).unwrap();
        let secrets = self.client.dangerous_extract_secrets().unwrap();
        (handover.finish(secrets, self.socket).unwrap(), self.server)
    }
}

fn patterned(len: u64) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&payload::pattern(0..len)).unwrap();
    file
}

#[test]
fn a_file_leaves_by_sendfile_and_comes_by_splice_in_every_version_and_cipher() {
    require!(KernelTls);
    let file = patterned(LEN);
    for kind in KINDS {
        let ends = shaken(kind, |mut server| {
            let mut bytes = Vec::new();
            // rustls answers `UnexpectedEof` to an end without close_notify.
            server.read_to_end(&mut bytes).unwrap();
            server.write_all(&bytes).unwrap();
            server.conn.send_close_notify();
            server.flush().unwrap();
            bytes
        });
        let (stream, server) = ends.in_the_kernel();
        let source = Source::file(&file, ..).unwrap();
        let only = Policy::Only(Method::Sendfile);
        let mut sent = Transfer::new(source, Sink::stream(stream.socket())).policy(only);
        assert_eq!(sent.run(), Ok(LEN), "{kind:?}");
        assert_eq!(sent.ledger().of(Method::Sendfile).bytes, LEN);
        stream.close_notify().unwrap();
        let back = tempfile::NamedTempFile::new().unwrap();
        let only = Policy::Only(Method::Splice);
        let mut came = Transfer::new(Source::tls(&stream), Sink::file(&back, 0)).policy(only);
        assert_eq!(came.run(), Ok(LEN), "{kind:?}");
        assert_eq!(came.ledger().of(Method::Splice).bytes, LEN);
        let (arrived, back) = (server.join().unwrap(), std::fs::read(back.path()).unwrap());
        assert_eq!(payload::difference(&arrived, 0, LEN), None, "{kind:?}");
        assert_eq!(payload::difference(&back, 0, LEN), None, "{kind:?}");
    }
}

/// Sends everything back once it has come, and ends.
fn echo(mut server: Server) {
    let mut bytes = Vec::new();
    server.read_to_end(&mut bytes).unwrap();
    server.write_all(&bytes).unwrap();
    server.conn.send_close_notify();
    server.flush().unwrap();
}

#[cfg(feature = "tokio")]
#[tokio::test]
async fn tokio_drives_a_file_into_records_and_out_of_them() {
    require!(KernelTls);
    let file = patterned(LEN);
    for kind in [KINDS[0], KINDS[3]] {
        let Ends { mut client, socket, server, .. } = shaken(kind, echo);
        let handover = Handover::prepare(&mut client, &socket).unwrap();
        let socket = socket.into_inner();
        socket.set_nonblocking(true).unwrap();
        let socket = ByRecord::new(tokio::net::TcpStream::from_std(socket).unwrap());
        let secrets = client.dangerous_extract_secrets().unwrap();
        let stream = handover.finish(secrets, socket).unwrap();
        let source = Source::file(&file, ..).unwrap();
        let mut sent = Transfer::new(source, Sink::tokio(stream.socket()));
        assert_eq!(sent.drive().await, Ok(LEN), "{kind:?}");
        stream.close_notify().unwrap();
        let back = tempfile::NamedTempFile::new().unwrap();
        let mut came = Transfer::new(Source::tls_tokio(&stream), Sink::file(&back, 0));
        assert_eq!(came.drive().await, Ok(LEN), "{kind:?}");
        assert_eq!(came.ledger().of(Method::Splice).bytes, LEN);
        let back = std::fs::read(back.path()).unwrap();
        assert_eq!(payload::difference(&back, 0, LEN), None, "{kind:?}");
        server.join().unwrap();
    }
}

#[test]
fn every_method_there_is_puts_the_same_bytes_behind_a_head() {
    require!(KernelTls);
    let file = patterned(LEN);
    for method in Method::ALL {
        let ends = shaken(KINDS[0], |mut server| {
            let mut bytes = Vec::new();
            server.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let (stream, server) = ends.in_the_kernel();
        let source = Source::file(&file, ..).unwrap();
        let mut sent = Transfer::new(Source::bytes("PUT "), Sink::stream(stream.socket()))
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
fn content_comes_through_pipes_and_sockets_of_any_size() {
    require!(KernelTls);
    let serve = |mut server: Server| {
        server.write_all(&payload::pattern(0..1_000_000)).unwrap();
        server.conn.send_close_notify();
        server.flush().unwrap();
    };
    for capacity in [4096, 8192, 65_536] {
        let (stream, server) = shaken(KINDS[0], serve).in_the_kernel();
        let (mut reader, writer) = std::io::pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(&writer, capacity).unwrap();
        let reading = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).unwrap();
            bytes
        });
        let mut transfer = Transfer::new(Source::tls(&stream), Sink::stream(&writer));
        assert_eq!(transfer.run(), Ok(1_000_000));
        assert_eq!(transfer.ledger().of(Method::Splice).bytes, 1_000_000);
        drop(transfer);
        drop(writer);
        let bytes = reading.join().unwrap();
        assert_eq!(payload::difference(&bytes, 0, 1_000_000), None, "{capacity}");
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
fn no_nonce_of_the_handshake_is_used_again_by_the_kernel() {
    require!(KernelTls);
    for kind in [KINDS[3], KINDS[4]] {
        let ends = shaken(kind, |mut server| {
            let mut bytes = Vec::new();
            server.read_to_end(&mut bytes).unwrap();
        });
        let wire = Arc::clone(&ends.wire);
        let (mut stream, server) = ends.in_the_kernel();
        for _ in 0..100 {
            stream.write_all(b"underpass").unwrap();
        }
        stream.close_notify().unwrap();
        server.join().unwrap();
        let mut nonces = explicit_nonces(&wire.lock().unwrap());
        // Finished, a hundred records and the alert.
        assert_eq!(nonces.len(), 102, "{kind:?}");
        nonces.sort_unstable();
        nonces.dedup();
        assert_eq!(nonces.len(), 102, "a nonce was used twice: {kind:?}");
    }
}

#[test]
fn an_alert_new_keys_and_a_cut_end_a_transfer_by_their_names() {
    require!(KernelTls);
    let moved = |stream: &TlsStream<TcpStream>| {
        let to = tempfile::tempfile().unwrap();
        Transfer::new(Source::tls(stream), Sink::file(&to, 0)).run().unwrap_err()
    };
    for kind in [KINDS[0], KINDS[3]] {
        let (stream, server) = shaken(kind, |mut server| {
            // What the client has sent is no handshake message that can be.
            server.read(&mut [0; 9]).unwrap_err()
        })
        .in_the_kernel();
        underpass_sys::tls::send_record(stream.socket().as_fd(), 22, &[99, 0, 0, 0]).unwrap();
        let error = moved(&stream);
        assert!(matches!(error.kind, ErrorKind::Tls(TlsError::Alert(_))), "{error}");
        assert_eq!(server.join().unwrap().kind(), IoErrorKind::InvalidData);
        let (mut stream, server) = shaken(kind, |mut server| {
            // A socket that the peer has closed takes no upper layer protocol.
            server.read_exact(&mut [0]).unwrap();
            server.write_all(b"abc").unwrap();
            server.flush().unwrap();
        })
        .in_the_kernel();
        stream.write_all(b"!").unwrap();
        let error = moved(&stream);
        assert_eq!((error.kind, error.moved), (ErrorKind::Tls(TlsError::CutShort), 3));
        server.join().unwrap();
    }
    let (stream, server) = shaken(KINDS[0], |mut server| {
        server.write_all(b"abc").unwrap();
        server.conn.refresh_traffic_keys().unwrap();
        server.write_all(b"def").unwrap();
        server.flush().unwrap();
        server.sock.0
    })
    .in_the_kernel();
    let error = moved(&stream);
    assert_eq!((error.kind, error.moved), (ErrorKind::Tls(TlsError::KeyUpdate), 3));
    drop(server.join().unwrap());
}

#[test]
fn a_connection_that_cannot_be_handed_over_goes_on_where_it_was() {
    for kind in [KINDS[0], KINDS[3]] {
        let Ends { mut client, mut socket, server, .. } = shaken(kind, |mut server| {
            server.write_all(b"early").unwrap();
            let mut bytes = [0; 5];
            server.read_exact(&mut bytes).unwrap();
            bytes
        });
        // Content is read by rustls before the kernel is asked.
        while client.process_new_packets().unwrap().plaintext_bytes_to_read() == 0 {
            client.read_tls(&mut socket).unwrap();
        }
        let refused = Handover::prepare(&mut client, &socket).unwrap_err();
        assert_eq!(refused, Unavailable::ReadAhead);
        let mut stream = StreamOwned::new(client, socket.into_inner());
        let mut early = [0; 5];
        stream.read_exact(&mut early).unwrap();
        stream.write_all(b"later").unwrap();
        stream.flush().unwrap();
        assert_eq!((&early, server.join().unwrap()), (b"early", *b"later"));
    }
}

#[test]
fn where_the_kernel_has_no_tls_the_connection_goes_on_in_user_space() {
    let ulp = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap_or_default();
    let Ends { mut client, socket, server, .. } = shaken(KINDS[0], |mut server| {
        let mut bytes = [0; 5];
        server.read_exact(&mut bytes).unwrap();
        bytes
    });
    let asked = Handover::prepare(&mut client, &socket).map(drop);
    let has_tls = ulp.split_whitespace().any(|name| name == "tls");
    assert_eq!(asked, if has_tls { Ok(()) } else { Err(Unavailable::NoModule) });
    // Consent alone changes nothing either.
    let mut stream = StreamOwned::new(client, socket);
    stream.write_all(b"hello").unwrap();
    stream.flush().unwrap();
    assert_eq!(server.join().unwrap(), *b"hello");
}
