//! A peer that seals records by hand, for what no TLS library sends.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::io::Errno;
use underpass_sys::tls::{self, CONTENT, Direction, Keys, Version};
use underpass_testkit::require;
use underpass_testkit::skip::Capability::KernelTls;

use super::handshake::{Negotiated, Secured};
use super::inbound::ALERT;
use super::kernel::Kernel;
use super::records::Records;
use super::{BlockingTlsStream, TlsError};
use crate::{Error, ErrorKind, Method, Policy, Sink, Transfer};

const HANDSHAKE: u8 = 22;
const CLOSE: &[u8] = &[1, 0];

struct Peer {
    socket: TcpStream,
    key: LessSafeKey,
    sequence: u64,
}

impl Peer {
    /// One record of TLS 1.3 (RFC 8446 §5.2): the type is sealed with the content.
    fn sealed(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len() + 17).unwrap();
        let mut header = vec![CONTENT, 3, 3];
        header.extend_from_slice(&len.to_be_bytes());
        let mut nonce = [9; 12];
        for (byte, count) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= count;
        }
        self.sequence += 1;
        let mut body = [content, &[kind]].concat();
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut body).unwrap();
        [header, body].concat()
    }

    fn send(&mut self, kind: u8, content: &[u8]) {
        let record = self.sealed(kind, content);
        self.socket.write_all(&record).unwrap();
    }
}

fn connected() -> (BlockingTlsStream<TcpStream>, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let peer = listener.accept().unwrap().0;
    tls::attach(socket.as_fd()).unwrap();
    let keys = Keys::Aes128Gcm { key: [7; 16], iv: [9; 12] };
    tls::set_keys(socket.as_fd(), Direction::Receive, Version::Tls13, &keys, 0).unwrap();
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &[7; 16]).unwrap());
    let negotiated = Negotiated {
        version: None,
        cipher_suite: None,
        alpn: None,
        peer_certificates: None,
        server_name: None,
    };
    let records = Records::Kernel(Kernel::new(Version::Tls13));
    let secured = Secured { records, negotiated, unavailable: None };
    (BlockingTlsStream::new(socket, secured), Peer { socket: peer, key, sequence: 0 })
}

/// What a transfer by this method brings, and how it ends.
fn received(stream: &BlockingTlsStream<TcpStream>, method: Method) -> (Vec<u8>, Option<Error>) {
    let to = tempfile::NamedTempFile::new().unwrap();
    let mut transfer =
        Transfer::new(stream.source(), Sink::file(&to, 0)).policy(Policy::Only(method));
    let error = transfer.run().err();
    drop(transfer);
    (std::fs::read(to.path()).unwrap(), error)
}

#[test]
fn content_comes_out_of_records_that_have_none_and_of_others_in_between() {
    require!(KernelTls);
    for method in [Method::Splice, Method::Copy] {
        let (stream, mut peer) = connected();
        peer.send(CONTENT, b"un");
        peer.send(CONTENT, b"");
        peer.send(CONTENT, b"");
        peer.send(CONTENT, b"der");
        // A ticket of three bytes, cut within its header and within its content.
        for part in [&[4, 0][..], &[0, 3, 8], &[8, 8], &[4, 0, 0, 0]] {
            peer.send(HANDSHAKE, part);
        }
        peer.send(CONTENT, b"pass");
        for _ in 0..3 {
            peer.send(CONTENT, b"");
        }
        peer.send(HANDSHAKE, &[4, 0, 0, 0]);
        peer.send(CONTENT, b"");
        peer.send(ALERT, CLOSE);
        assert_eq!(received(&stream, method), (b"underpass".to_vec(), None), "{method}");
        // The peer's end lasts, although its socket is open.
        assert_eq!(received(&stream, method), (Vec::new(), None), "{method}");
    }
}

#[test]
fn the_stream_itself_reads_the_same_and_looks_without_taking() {
    require!(KernelTls);
    let (stream, mut peer) = connected();
    peer.send(HANDSHAKE, &[4, 0, 0, 1, 7]);
    peer.send(CONTENT, b"head, ");
    peer.send(CONTENT, b"");
    peer.send(HANDSHAKE, &[4, 0, 0, 0]);
    peer.send(CONTENT, b"body");
    peer.send(ALERT, CLOSE);
    let mut block = [0; 100];
    for _ in 0..2 {
        assert_eq!(stream.peek(&mut block).unwrap(), 6);
        assert_eq!(&block[..6], b"head, ");
    }
    let mut all = Vec::new();
    loop {
        let n = stream.receive(&mut block[..1]).unwrap();
        all.extend_from_slice(&block[..n]);
        if n == 0 {
            break;
        }
    }
    assert_eq!(all, b"head, body");
    assert_eq!(stream.peek(&mut block).unwrap(), 0);
}

#[test]
fn what_a_peer_says_instead_of_content_is_an_error_that_names_it() {
    require!(KernelTls);
    let tls = ErrorKind::Tls;
    for method in [Method::Splice, Method::Copy] {
        for (kind, content, wanted) in [
            (ALERT, &[2, 40][..], tls(TlsError::Alert(40))),
            (HANDSHAKE, &[24, 0, 0, 1, 0], tls(TlsError::KeyUpdate)),
            (HANDSHAKE, &[1, 0, 0, 1, 0], tls(TlsError::Handshake(1))),
            (99, b"x", tls(TlsError::Record(99))),
        ] {
            let (stream, mut peer) = connected();
            peer.send(CONTENT, b"abc");
            peer.send(kind, content);
            let (bytes, error) = received(&stream, method);
            let error = error.unwrap();
            assert_eq!((bytes, error.kind, error.moved), (b"abc".to_vec(), wanted, 3), "{method}");
            // What came before the end of a stream of known length is whole.
            let (stream, mut peer) = connected();
            peer.send(CONTENT, b"abc");
            peer.send(kind, content);
            let to = tempfile::tempfile().unwrap();
            let source = stream.source().take(3);
            assert_eq!(Transfer::new(source, Sink::file(&to, 0)).run(), Ok(3));
        }
    }
}

#[test]
fn a_connection_that_is_cut_or_forged_is_an_error() {
    require!(KernelTls);
    for method in [Method::Splice, Method::Copy] {
        // Behind a record, within one, and behind one without content.
        for end in [0, 9, usize::MAX] {
            let (stream, mut peer) = connected();
            peer.send(CONTENT, b"abc");
            let next = if end == usize::MAX { &b""[..] } else { b"defg" };
            let next = peer.sealed(CONTENT, next);
            peer.socket.write_all(&next[..end.min(next.len())]).unwrap();
            drop(peer);
            let (bytes, error) = received(&stream, method);
            let wanted = ErrorKind::Tls(TlsError::CutShort);
            assert_eq!((bytes, error.unwrap().kind), (b"abc".to_vec(), wanted), "{method} {end}");
        }
        let (stream, mut peer) = connected();
        peer.send(CONTENT, b"abc");
        let mut forged = peer.sealed(CONTENT, b"defg");
        forged[7] ^= 1;
        peer.socket.write_all(&forged).unwrap();
        let (bytes, error) = received(&stream, method);
        let error = error.unwrap();
        assert_eq!((bytes, error.kind), (b"abc".to_vec(), ErrorKind::Io(Errno::BADMSG)));
        assert!(error.to_string().ends_with("(EBADMSG)"), "{error}");
    }
}

#[test]
fn an_end_before_the_promised_length_is_truncation() {
    require!(KernelTls);
    let (stream, mut peer) = connected();
    peer.send(CONTENT, b"abc");
    peer.send(ALERT, CLOSE);
    let to = tempfile::tempfile().unwrap();
    let source = stream.source().take(10);
    let error = Transfer::new(source, Sink::file(&to, 0)).run().unwrap_err();
    assert_eq!((error.kind, error.moved), (ErrorKind::Truncated { missing: 7 }, 3));
}
