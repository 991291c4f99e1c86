//! PUT: sends content, and reads what the server says about it, which may come early.
//!
//! Source: RFC 9110 §9.3.4; RFC 9112 §9.5.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::event::PollFlags;
use underpass::Policy;

use crate::answer::{read_head, refused};
use crate::chunked::ChunkedWriter;
use crate::client::Client;
use crate::connection::Connection;
use crate::early::is_answer;
use crate::error::ClientError;
use crate::get::redirected;
use crate::interrupt::{Interrupt, Woken};
use crate::tls::Sending;
use crate::url::Url;
use crate::waiting::WaitingStream;

/// A PUT whose content is being sent.
#[derive(Debug)]
pub struct Put<'i> {
    /// Where the content goes: by the engine, or in chunks.
    pub connection: Connection<'i>,
    /// Whether its length is unknown, so that a [`ChunkedWriter`] has to frame it.
    pub is_chunked: bool,
    url: Url,
}

impl Client {
    /// Starts a PUT of `len` bytes, or of chunks; `first` is the URL that the user gave, and `url`
    /// may be where its server redirects to.
    ///
    /// # Errors
    ///
    /// [`ClientError::Open`] if the server cannot be reached; [`ClientError::Beneath`].
    pub fn begin_put<'i>(
        &self,
        url: &Url,
        first: &Url,
        len: Option<u64>,
        policy: Policy,
        interrupt: &'i Interrupt,
    ) -> Result<Put<'i>, ClientError> {
        let (fields, sending) = match len {
            Some(len) => (format!("Content-Length: {len}\r\n"), Sending::Content(len)),
            None => ("Transfer-Encoding: chunked\r\n".to_owned(), Sending::Chunks),
        };
        let request = self.request(("PUT", url), first, &[], &fields)?;
        let mut connection = self.connect(url, sending, interrupt)?;
        connection.permits(policy, url)?;
        connection
            .write_all(request.as_bytes())
            .map_err(|error| ClientError::open("send to", url, error))?;
        Ok(Put { connection, is_chunked: len.is_none(), url: url.clone() })
    }
}

impl Put<'_> {
    /// Whether the server has answered or closed before it had everything.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        let WaitingStream { fd, interrupt, .. } = self.connection.socket();
        let now = Some(Instant::now());
        interrupt.wait(&[(fd.as_fd(), PollFlags::IN)], now) == Ok(Woken::Ready)
    }

    /// Writes what ends content of unknown length.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn end_content(&mut self) -> io::Result<()> {
        if self.is_chunked { ChunkedWriter(&mut self.connection).finish() } else { Ok(()) }
    }

    /// Ends the content, and reads the server's answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::Status`] or [`ClientError::Redirect`] if the server did not take it.
    pub fn finish(&mut self) -> Result<(), ClientError> {
        match self.connection.flush() {
            Err(error) if is_answer(&error) => {}
            flushed => flushed.map_err(|error| ClientError::open("send to", &self.url, error))?,
        }
        self.answer()?;
        self.connection.close();
        Ok(())
    }

    /// Reads why the server did not take the content.
    pub fn refusal(&mut self) -> ClientError {
        match self.answer() {
            Err(error) => error,
            Ok(status) => {
                let what = format!("the server answered {status} before it had everything");
                ClientError::Protocol { end: self.url.to_string(), what }
            }
        }
    }

    fn answer(&mut self) -> Result<u16, ClientError> {
        let head = read_head(&mut self.connection, &self.url)?;
        if (200..300).contains(&head.status) {
            Ok(head.status)
        } else if matches!(head.status, 301 | 302 | 307 | 308) {
            let to = Box::new(redirected(&self.url, head)?);
            Err(ClientError::Redirect { url: self.url.to_string(), to })
        } else {
            Err(refused(&self.url, head))
        }
    }
}
