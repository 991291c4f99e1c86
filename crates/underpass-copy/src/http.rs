//! GET and PUT over HTTP/1.1, with the content kept out of this program's memory.
//!
//! Reading the head of a response takes not one byte after it (`MSG_PEEK`), so content of a known
//! length can be spliced from the socket, and a request's content goes by sendfile; with TLS too,
//! if the kernel does it. Chunked content passes through memory.
//!
//! Source: RFC 9110 §9.3.1, §9.3.4, §14, §15; RFC 9112 §6.3, §7.1.

mod body;
mod chunked;
mod connection;
mod credentials;
mod early;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;
mod tls;
pub(crate) mod url;
mod validator;

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::Errno;
use underpass::Policy;

pub(crate) use self::body::Body;
pub(crate) use self::chunked::{Chunked, ChunkedWriter};
pub(crate) use self::connection::Connection;
pub(crate) use self::early::is_answer;
use self::head::Head;
use self::tls::Sending;
use self::url::Url;
pub(crate) use self::validator::Validator;
use crate::error::{CopyError, Usage};
use crate::interrupt::{Interrupt, Woken};
use crate::range::Range;
use crate::waiting::WaitingStream;

/// How many redirects are followed.
const REDIRECTS_MAX: u32 = 10;

/// How many interim heads (1xx) may come before the final one.
const INTERIM_MAX: u32 = 100;

const AGENT: &str = concat!("underpass/", env!("CARGO_PKG_VERSION"));

/// How the content of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A response whose content has not been read.
pub(crate) struct Answer<'i> {
    pub(crate) connection: Connection<'i>,
    pub(crate) framing: Framing,
    /// Where the content starts in the representation.
    pub(crate) start: u64,
    /// The representation's length.
    pub(crate) total: Option<u64>,
    /// What identifies this version.
    pub(crate) validator: Option<Validator>,
    /// Whether the status is 206.
    pub(crate) is_range: bool,
}

/// Asks for a representation, or for a part of it if it still has this validator.
pub(crate) fn get<'i>(
    url: &Url,
    range: Range,
    if_range: Option<&Validator>,
    interrupt: &'i Interrupt,
) -> Result<Answer<'i>, CopyError> {
    ask(url, range, if_range, interrupt, &|_| Ok(()))
}

/// The same; `connected` is called with each connection before its answer is awaited.
pub(crate) fn ask<'i>(
    url: &Url,
    range: Range,
    if_range: Option<&Validator>,
    interrupt: &'i Interrupt,
    connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
) -> Result<Answer<'i>, CopyError> {
    let mut url = url.clone();
    for _ in 0..=REDIRECTS_MAX {
        let mut fields = String::new();
        if range != Range::Whole {
            fields = format!("Range: bytes={range}\r\n");
            if let Some(validator) = if_range.and_then(Validator::if_range) {
                fields += &format!("If-Range: {validator}\r\n");
            }
        }
        let mut connection = Connection::open(&url, Sending::Request, interrupt)?;
        let request = request("GET", &url, &fields);
        connected(&connection)
            .and_then(|()| connection.write_all(request.as_bytes()))
            .and_then(|()| connection.flush())
            .map_err(|error| CopyError::open("ask", &url, error))?;
        let head = read_head(&mut connection, &url)?;
        match head.status {
            301 | 302 | 303 | 307 | 308 => {
                let location = head.field("location").unwrap_or_default();
                url = url.join(location).map_err(|why| CopyError::Protocol {
                    end: url.to_string(),
                    what: format!("cannot follow its redirect to '{location}': {why}"),
                })?;
            }
            200 | 206 => return answer(connection, &head, &url),
            416 => {
                let len = head.complete_length().unwrap_or(0);
                let (range, end) = (range.to_string(), url.to_string());
                return Err(CopyError::Usage(Usage::Range { range, end, len }));
            }
            _ => return Err(refused(&url, head)),
        }
    }
    let what = format!("it redirects more than {REDIRECTS_MAX} times");
    Err(CopyError::Protocol { end: url.to_string(), what })
}

fn answer<'i>(connection: Connection<'i>, head: &Head, url: &Url) -> Result<Answer<'i>, CopyError> {
    let wrong = |what: &str| CopyError::Protocol { end: url.to_string(), what: what.to_owned() };
    let framing = head.framing().map_err(wrong)?;
    let (start, total) = if head.status == 206 {
        let range = head
            .content_range()
            .ok_or_else(|| wrong("it answered 206 without a Content-Range of one range"))?;
        (range.first, range.total)
    } else {
        let total = if let Framing::Length(len) = framing { Some(len) } else { None };
        (0, total)
    };
    let validator = Validator::of(head);
    let is_range = head.status == 206;
    Ok(Answer { connection, framing, start, total, validator, is_range })
}

/// A PUT whose content is being sent.
pub(crate) struct Put<'i> {
    pub(crate) connection: Connection<'i>,
    pub(crate) is_chunked: bool,
    url: Url,
}

/// Starts a PUT of `len` bytes, or of chunks.
pub(crate) fn put<'i>(
    url: &Url,
    len: Option<u64>,
    policy: Policy,
    interrupt: &'i Interrupt,
) -> Result<Put<'i>, CopyError> {
    let (fields, sending) = match len {
        Some(len) => (format!("Content-Length: {len}\r\n"), Sending::Content(len)),
        None => ("Transfer-Encoding: chunked\r\n".to_owned(), Sending::Chunks),
    };
    let mut connection = Connection::open(url, sending, interrupt)?;
    connection.permits(policy, url)?;
    connection
        .write_all(request("PUT", url, &fields).as_bytes())
        .map_err(|error| CopyError::open("send to", url, error))?;
    Ok(Put { connection, is_chunked: len.is_none(), url: url.clone() })
}

impl Put<'_> {
    /// Whether the server has answered or closed before it had everything.
    pub(crate) fn has_answered(&self) -> bool {
        let WaitingStream { fd, interrupt, .. } = self.connection.socket();
        let now = Some(Instant::now());
        interrupt.wait(&[(fd.as_fd(), PollFlags::IN)], now) == Ok(Woken::Ready)
    }

    /// Writes what ends content of unknown length.
    pub(crate) fn end_content(&mut self) -> io::Result<()> {
        if self.is_chunked { ChunkedWriter(&mut self.connection).finish() } else { Ok(()) }
    }

    /// Ends the content, and reads the server's answer.
    pub(crate) fn finish(&mut self) -> Result<(), CopyError> {
        match self.connection.flush() {
            Err(error) if is_answer(&error) => {}
            flushed => flushed.map_err(|error| CopyError::open("send to", &self.url, error))?,
        }
        self.answer()?;
        self.connection.close();
        Ok(())
    }

    /// Reads why the server did not take the content.
    pub(crate) fn refusal(&mut self) -> CopyError {
        match self.answer() {
            Err(error) => error,
            Ok(status) => {
                let what = format!("the server answered {status} before it had everything");
                CopyError::Protocol { end: self.url.to_string(), what }
            }
        }
    }

    fn answer(&mut self) -> Result<u16, CopyError> {
        let head = read_head(&mut self.connection, &self.url)?;
        if (200..300).contains(&head.status) {
            Ok(head.status)
        } else {
            Err(refused(&self.url, head))
        }
    }
}

fn request(method: &str, url: &Url, fields: &str) -> String {
    let (authority, target) = (url.authority(), &url.target);
    let known = url.credentials.as_ref();
    let known = known.map(|it| format!("Authorization: {}\r\n", it.basic())).unwrap_or_default();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: {AGENT}\r\n\
         Accept: */*\r\nAccept-Encoding: identity\r\nConnection: close\r\n{known}{fields}\r\n"
    )
}

/// Reads the final head, and skips interim ones (1xx).
fn read_head(connection: &mut Connection<'_>, url: &Url) -> Result<Head, CopyError> {
    for _ in 0..=INTERIM_MAX {
        let bytes = connection
            .read_head()
            .map_err(|error| CopyError::open("read the answer from", url, error))?;
        let head = Head::parse(&bytes)
            .map_err(|what| CopyError::Protocol { end: url.to_string(), what })?;
        if head.status >= 200 {
            return Ok(head);
        }
    }
    let what = format!("it sent more than {INTERIM_MAX} interim answers");
    Err(CopyError::Protocol { end: url.to_string(), what })
}

fn refused(url: &Url, head: Head) -> CopyError {
    CopyError::Status { url: url.to_string(), status: head.status, reason: head.reason }
}

/// Whether a call failed because the peer closed: it may have said why before.
pub(crate) fn is_closed(errno: Errno) -> bool {
    matches!(errno, Errno::PIPE | Errno::CONNRESET)
}
