//! PUT of content that is there as a whole: a range of a file, or bytes.
//!
//! A server may answer before it has everything, and then reads no more; its answer counts.
//!
//! Source: RFC 9110 §9.3.4, §13.1; RFC 9112 §9.5.

use std::io::{self, Write};

use rustix::event::PollFlags;
use underpass::{Side, Source, Step, Transfer};

use crate::answer::read_head;
use crate::ask::{Answered, Response};
use crate::client::{Client, Field};
use crate::condition::Condition;
use crate::connection::Connection;
use crate::early::is_answer;
use crate::error::ClientError;
use crate::get::redirected;
use crate::interrupt::{Interrupt, interrupted};
use crate::tls::Sending;
use crate::url::Url;

impl Client {
    /// Puts content that has a length: a range of a file, which the kernel sends where it can, or
    /// bytes. The server's final answer is a value, whatever its status, also one that comes before
    /// the server has everything. `fields` replace the client's of the same name.
    ///
    /// It is sent once. After an error it is not known whether the server has carried it out,
    /// unless it [`is_unsent`](ClientError::is_unsent).
    ///
    /// # Errors
    ///
    /// [`ClientError::Open`] if the server cannot be reached, the content cannot be read or has
    /// changed meanwhile, or no answer comes; [`ClientError::Redirect`], because content that was
    /// used up cannot be sent again; [`ClientError::Protocol`] for an answer that is not HTTP, and
    /// for content without a length.
    pub fn put<'i>(
        &self,
        url: &Url,
        content: Source<'_>,
        condition: Condition<'_>,
        fields: &[Field],
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let wrong = |what: &str| ClientError::wrong(url, what);
        let len = content.len_bytes();
        let len =
            len.ok_or_else(|| wrong("content whose length is unknown cannot be put whole"))?;
        let condition = condition.line(false).map_err(wrong)?;
        let lines = format!("Content-Length: {len}\r\n{condition}");
        let request = self.request(("PUT", url), url, fields, &lines)?;
        let mut connection = self.connect(url, Sending::Content(len), interrupt)?;
        let failed = |error| ClientError::open("send to", url, error);
        let sent = send(&request, content, &mut connection);
        let is_whole = sent.is_ok();
        let head = match sent {
            Ok(()) => read_head(&mut connection, url)?,
            Err(error) if is_answer(&error) => read_head(&mut connection, url)?,
            // It may have said why.
            Err(error) if is_lost(&error) => {
                read_head(&mut connection, url).map_err(|_| failed(error))?
            }
            Err(error) => return Err(failed(error)),
        };
        if matches!(head.status, 301 | 302 | 307 | 308) {
            let to = Box::new(redirected(url, head)?);
            return Err(ClientError::Redirect { url: url.to_string(), to });
        }
        let home = self.home(url, &head).filter(|_| is_whole);
        Answered { connection, head, url: url.clone(), home }.content(None)
    }
}

/// Sends a request with its content.
fn send(request: &str, content: Source<'_>, connection: &mut Connection<'_>) -> io::Result<()> {
    connection.write_all(request.as_bytes())?;
    let interrupt = connection.socket().interrupt;
    let mut transfer = Transfer::new(content, connection.sink());
    loop {
        if interrupt.signal().is_some() {
            return Err(interrupted());
        }
        match transfer.step()? {
            Step::Wait(Side::Sink) => connection.wait_for_room()?,
            Step::Wait(Side::Source) => {
                interrupt.wait_to_move(transfer.descriptor(Side::Source), PollFlags::IN)?;
            }
            Step::Done => break,
            Step::Moved(_) | Step::Buffered(_) | Step::Cold { .. } | _ => {}
        }
    }
    drop(transfer);
    connection.flush()
}

/// Whether the server has closed the connection.
fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
