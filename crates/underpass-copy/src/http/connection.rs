//! A connection to a server, with or without TLS.
//!
//! Without TLS, or with the kernel's TLS, splice and sendfile can move the content, and reading a
//! head leaves what follows it in the socket.
//!
//! Source: recv(2), `MSG_PEEK`; RFC 8446 §6.1 (an end without close_notify means truncation).

use std::io::{self, Read, Write};
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::ClientConfig;
use underpass::{Method, Policy, Sink, Source};

use super::head::{head_end, is_http};
use super::tls::{self, InUserSpace, Records, Secured, Sending};
use super::url::Url;
use crate::error::{CopyError, Usage};
use crate::interrupt::Interrupt;
use crate::socket;
use crate::waiting::WaitingStream;

/// A longer head is an error.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An open connection.
pub(crate) enum Connection<'i> {
    Plain(WaitingStream<'i>),
    Tls {
        secured: Box<Secured<'i>>,
        /// Why this process makes the records, if it does.
        why: Option<InUserSpace>,
    },
}

impl std::fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Connection").field(&self.socket().fd).finish()
    }
}

impl<'i> Connection<'i> {
    /// Connects to a server, or to a proxy.
    pub(super) fn open(
        (verb, url): (&'static str, &Url),
        interrupt: &'i Interrupt,
    ) -> Result<Self, CopyError> {
        let fd = socket::connect_tcp(&url.address(), interrupt)
            .map_err(|error| CopyError::open(verb, url, error))?;
        Ok(Self::Plain(WaitingStream::new(fd, interrupt)))
    }

    /// Shakes hands with the server over a connection without TLS.
    pub(super) fn secure(
        self,
        host: &str,
        config: Arc<ClientConfig>,
        sending: Sending,
    ) -> io::Result<Self> {
        let Self::Plain(socket) = self else { return Ok(self) };
        let (secured, why) = tls::connect(host, config, socket, sending)?;
        secured.socket().may_last();
        Ok(Self::Tls { secured: Box::new(secured), why })
    }

    /// The connection as a source of transfers.
    pub(crate) fn source(&self) -> Source<'_> {
        match self {
            Self::Plain(socket) => Source::stream(&socket.fd),
            Self::Tls { secured, .. } => secured.source(),
        }
    }

    /// The connection as a sink of transfers.
    pub(crate) fn sink(&self) -> Sink<'_> {
        match self {
            Self::Plain(socket) => Sink::stream(&socket.fd),
            Self::Tls { secured, .. } => secured.sink(),
        }
    }

    /// Why this process decrypts the content, if it does.
    pub(crate) fn in_user_space(&self) -> Option<InUserSpace> {
        match self {
            Self::Tls { why, .. } => *why,
            Self::Plain(_) => None,
        }
    }

    /// Refuses a method of the kernel where TLS is in user space.
    pub(crate) fn permits(&self, policy: Policy, url: &Url) -> Result<(), CopyError> {
        match (policy, self.in_user_space()) {
            (Policy::Only(method), Some(why)) if method != Method::Copy => {
                let (method, end, why) = (method.name(), url.to_string(), why.to_string());
                Err(CopyError::Usage(Usage::Beneath { method, end, why }))
            }
            _ => Ok(()),
        }
    }

    /// Ends this side; the server has answered.
    pub(crate) fn close(&mut self) {
        if let Self::Tls { secured, .. } = self {
            // The answer has come: nothing depends on whether the server gets this.
            drop(secured.close_notify());
        }
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &WaitingStream<'i> {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls { secured, .. } => secured.socket(),
        }
    }

    /// Reads up to the empty line that ends a head. The server may take long to begin, but then has
    /// to send the head without delay.
    pub(crate) fn read_head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        let socket = self.socket();
        socket.must_end_once_begun("the answer's head", socket.interrupt.connect_timeout());
        while head.len() < HEAD_BYTES_MAX {
            if self.read_some_head(&mut head)? {
                self.socket().may_last();
                return Ok(head);
            }
        }
        let why = format!("its head has more than {HEAD_BYTES_MAX} bytes");
        Err(io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// Whether the head is complete, or none.
    fn read_some_head(&mut self, head: &mut Vec<u8>) -> io::Result<bool> {
        let old = head.len();
        let mut block = [0; 4096];
        let n = self.peek(&mut block)?;
        if n == 0 {
            return Err(closed(head));
        }
        head.extend_from_slice(&block[..n]);
        if !is_http(head) {
            return Ok(true);
        }
        let end = head_end(head, old);
        head.truncate(end.unwrap_or(head.len()));
        // Take what belongs to the head, which was only peeked at.
        self.read_exact(&mut block[..head.len() - old])?;
        Ok(end.is_some())
    }

    /// Peeks at what comes next, if the kernel has it.
    fn peek(&self, block: &mut [u8]) -> io::Result<usize> {
        if let Self::Tls { secured, .. } = self {
            return Records(secured).peek(block);
        }
        let socket = self.socket();
        loop {
            match rustix::net::recv(&socket.fd, &mut *block, RecvFlags::PEEK) {
                Ok((n, _)) => return Ok(n),
                Err(Errno::AGAIN) => socket.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

fn closed(head: &[u8]) -> io::Error {
    let why = if head.is_empty() {
        "it closed the connection without an answer"
    } else {
        "it closed the connection within the head of its answer"
    };
    io::Error::new(io::ErrorKind::UnexpectedEof, why)
}

impl Read for Connection<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(into),
            Self::Tls { secured, .. } => Records(secured).read(into),
        }
    }
}

impl Connection<'_> {
    /// Makes a call that sends, when there is room for it.
    fn sending<T>(&self, call: impl Fn(&Self) -> io::Result<T>) -> io::Result<T> {
        loop {
            match call(self) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_room()?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
    }
}

impl Write for Connection<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sending(|this| match this {
            Self::Plain(socket) => Ok(rustix::io::write(&socket.fd, bytes)?),
            Self::Tls { secured, .. } => secured.send(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sending(|this| match this {
            Self::Plain(_) => Ok(()),
            Self::Tls { secured, .. } => Secured::flush(secured),
        })
    }
}
