//! The same conversations in the clear and over TLS, by the kernel and by rustls.

use std::io::{Read, Write};

use underpass_serve::SiteOptions;
use underpass_serve::access_log::Sink;

use crate::fixture::{Fixture, field};
use crate::tls::Secured;

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
pub(crate) enum Served {
    Clear(Fixture),
    Secured(Secured),
}

/// Either end of a connection.
pub(crate) trait Stream: Read + Write {}
impl<S: Read + Write> Stream for S {}

impl Served {
    pub(crate) fn new(way: Way, site: SiteOptions) -> Self {
        if way == Way::Clear {
            return Self::Clear(Fixture::of(site));
        }
        let serve = |tls| Fixture::secured(site, Sink::Off, None, tls);
        Self::Secured(Secured::serving(way == Way::KernelTls, serve))
    }

    pub(crate) const fn fixture(&self) -> &Fixture {
        match self {
            Self::Clear(fixture) => fixture,
            Self::Secured(server) => &server.fixture,
        }
    }

    pub(crate) fn connect(&self) -> Box<dyn Stream> {
        match self {
            Self::Clear(fixture) => Box::new(fixture.connect()),
            Self::Secured(server) => Box::new(server.connect(server.client())),
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
        field(&self.head, name)
    }
}

/// The next answer, which has a length.
fn answer(peer: &mut dyn Stream) -> std::io::Result<Answer> {
    let head = head(peer)?;
    let mut content = vec![0; field(&head, "content-length").parse().unwrap()];
    peer.read_exact(&mut content)?;
    Ok(Answer { status: head[9..12].parse().unwrap(), head, content })
}

/// The head of the next answer, byte by byte, so that nothing behind it is taken.
pub(crate) fn head(peer: &mut dyn Stream) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}
