//! The same conversations in the clear and over TLS, by the kernel and by rustls.

use std::fs;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use underpass_serve::access_log::Sink;
use underpass_serve::{Pair, SiteOptions, TlsOptions};
use underpass_testkit::tls::{Identity, NAME};

use crate::fixture::Fixture;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Clear,
    /// Records by the kernel where it has TLS.
    KernelTls,
    /// Records by rustls.
    Tls,
}

pub(crate) const WAYS: [Way; 3] = [Way::Clear, Way::KernelTls, Way::Tls];

/// A separate server, and how to reach it.
pub(crate) struct Served {
    pub(crate) fixture: Fixture,
    client: Option<Arc<ClientConfig>>,
}

/// Either end of a connection.
pub(crate) trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Served {
    pub(crate) fn new(way: Way, site: SiteOptions) -> Self {
        if way == Way::Clear {
            return Self { fixture: Fixture::of(site), client: None };
        }
        let (identity, dir) = (Identity::new().unwrap(), tempfile::tempdir().unwrap());
        let pair = Pair { certificates: dir.path().join("crt"), key: dir.path().join("key") };
        fs::write(&pair.certificates, identity.pem()).unwrap();
        fs::write(&pair.key, identity.key_pem()).unwrap();
        let in_kernel = way == Way::KernelTls;
        let tls = TlsOptions { pairs: vec![pair], only_13: false, in_kernel };
        let fixture = Fixture::secured(site, Sink::Off, None, tls);
        Self { fixture, client: Some(identity.client((&TLS13, "")).unwrap()) }
    }

    pub(crate) fn connect(&self) -> Box<dyn Stream> {
        let socket = self.fixture.connect();
        match &self.client {
            None => Box::new(socket),
            Some(config) => {
                let name = NAME.try_into().unwrap();
                let client = ClientConnection::new(Arc::clone(config), name).unwrap();
                Box::new(StreamOwned::new(client, socket))
            }
        }
    }
}

/// Asks; what is not a whole answer is the error that ended it.
pub(crate) fn ask(peer: &mut dyn Stream, path: &str, fields: &str) -> std::io::Result<Answer> {
    write!(peer, "GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n")?;
    answer(peer)
}

/// Status, head and content.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) content: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> &str {
        crate::fixture::field(&self.head, name)
    }
}

/// The next answer, which has a length.
pub(crate) fn answer(peer: &mut dyn Stream) -> std::io::Result<Answer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let len = crate::fixture::field(&head, "content-length").parse().unwrap();
    let mut content = vec![0; len];
    peer.read_exact(&mut content)?;
    Ok(Answer { status: head[9..12].parse().unwrap(), head, content })
}
