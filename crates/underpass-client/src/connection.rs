//! A connection to a server, with or without TLS.
//!
//! Without TLS, or with the kernel's TLS, splice and sendfile can move the content, and reading a
//! head leaves what follows it in the socket.
//!
//! Source: recv(2), `MSG_PEEK`; RFC 8446 §6.1 (an end without close_notify means truncation).

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::ClientConfig;
use underpass::tls::BlockingTlsStream;
use underpass::{Method, Policy, Sink, Source};

use crate::connect;
use crate::error::ClientError;
use crate::head::{head_end, is_http};
use crate::interrupt::Interrupt;
use crate::tls::{self, InUserSpace, Records, Secured, Sending};
use crate::url::Url;
use crate::waiting::WaitingStream;

/// A longer head is an error.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// An open connection.
pub struct Connection<'i> {
    transport: Transport<'i>,
}

enum Transport<'i> {
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
    pub(crate) fn open(
        (verb, url): (&'static str, &Url),
        interrupt: &'i Interrupt,
    ) -> Result<Self, ClientError> {
        let fd = connect::tcp(&url.address(), interrupt)
            .map_err(|error| ClientError::open(verb, url, error))?;
        Ok(Self { transport: Transport::Plain(WaitingStream::new(fd, interrupt)) })
    }

    /// Shakes hands with the server over a connection without TLS.
    pub(crate) fn secure(
        self,
        host: &str,
        config: Arc<ClientConfig>,
        sending: Sending,
    ) -> io::Result<Self> {
        let Transport::Plain(socket) = self.transport else { return Ok(self) };
        let (secured, why) = tls::connect(host, config, socket, sending)?;
        secured.socket().may_last();
        Ok(Self { transport: Transport::Tls { secured: Box::new(secured), why } })
    }

    /// The connection as a source of transfers.
    #[must_use]
    pub fn source(&self) -> Source<'_> {
        match &self.transport {
            Transport::Plain(socket) => Source::stream(&socket.fd),
            Transport::Tls { secured, .. } => secured.source(),
        }
    }

    /// The connection as a sink of transfers.
    #[must_use]
    pub fn sink(&self) -> Sink<'_> {
        match &self.transport {
            Transport::Plain(socket) => Sink::stream(&socket.fd),
            Transport::Tls { secured, .. } => secured.sink(),
        }
    }

    /// Why this process decrypts the content, if it does.
    #[must_use]
    pub fn in_user_space(&self) -> Option<InUserSpace> {
        match &self.transport {
            Transport::Tls { why, .. } => *why,
            Transport::Plain(_) => None,
        }
    }

    /// Refuses a method of the kernel where TLS is in user space.
    ///
    /// # Errors
    ///
    /// [`ClientError::Beneath`].
    pub fn permits(&self, policy: Policy, url: &Url) -> Result<(), ClientError> {
        match (policy, self.in_user_space()) {
            (Policy::Only(method), Some(why)) if method != Method::Copy => {
                let (method, end, why) = (method.name(), url.to_string(), why.to_string());
                Err(ClientError::Beneath { method, end, why })
            }
            _ => Ok(()),
        }
    }

    /// Ends this side; the server has answered.
    pub(crate) fn close(&mut self) {
        if let Transport::Tls { secured, .. } = &self.transport {
            // The answer has come: nothing depends on whether the server gets this.
            drop(secured.close_notify());
        }
    }

    /// The socket below.
    #[must_use]
    pub fn socket(&self) -> &WaitingStream<'i> {
        match &self.transport {
            Transport::Plain(socket) => socket,
            Transport::Tls { secured, .. } => secured.socket(),
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
    pub(crate) fn peek(&self, block: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.peek_now(block) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.socket().wait(PollFlags::IN)?;
                }
                answer => return answer,
            }
        }
    }

    /// Peeks at what has come; `WouldBlock` if nothing has.
    pub(crate) fn peek_now(&self, block: &mut [u8]) -> io::Result<usize> {
        loop {
            match &self.transport {
                Transport::Tls { secured, .. } => return secured.peek(block),
                Transport::Plain(socket) => {
                    match rustix::net::recv(&socket.fd, &mut *block, RecvFlags::PEEK) {
                        Err(Errno::INTR) => {}
                        answer => return Ok(answer?.0),
                    }
                }
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

/// A connection between two requests, for which nothing waits.
#[derive(Debug)]
pub(crate) enum Idle {
    Plain(OwnedFd),
    Tls { secured: Box<BlockingTlsStream<OwnedFd>>, why: Option<InUserSpace> },
}

impl Idle {
    pub(crate) fn of(connection: Connection<'_>) -> Self {
        match connection.transport {
            Transport::Plain(socket) => Self::Plain(socket.fd),
            Transport::Tls { secured, why } => {
                Self::Tls { secured: Box::new(secured.map_socket(|socket| socket.fd)), why }
            }
        }
    }

    /// For the next request; `None` if the server has closed it, or said what was not asked for.
    pub(crate) fn resume(self, interrupt: &Interrupt) -> Option<Connection<'_>> {
        let waiting = |fd| WaitingStream::new(fd, interrupt);
        let transport = match self {
            Self::Plain(fd) => Transport::Plain(waiting(fd)),
            Self::Tls { secured, why } => {
                Transport::Tls { secured: Box::new(secured.map_socket(waiting)), why }
            }
        };
        let connection = Connection { transport };
        // In records there may be other things than content.
        let said = connection.peek_now(&mut [0]);
        said.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock).then_some(connection)
    }
}

impl Read for Connection<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        (&*self).read(into)
    }
}

impl Read for &Connection<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &self.transport {
            Transport::Plain(socket) => {
                socket.patiently(PollFlags::IN, |fd| rustix::io::read(fd, &mut *into))
            }
            Transport::Tls { secured, .. } => Records(secured).read(into),
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
        self.sending(|this| match &this.transport {
            Transport::Plain(socket) => Ok(rustix::io::write(&socket.fd, bytes)?),
            Transport::Tls { secured, .. } => secured.send(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sending(|this| match &this.transport {
            Transport::Plain(_) => Ok(()),
            Transport::Tls { secured, .. } => Secured::flush(secured),
        })
    }
}
