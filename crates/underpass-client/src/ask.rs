//! Asks a server, and gives what it answers as a value, whatever the status.
//!
//! Redirects are followed where the request may be repeated. Conditions and the range go along,
//! since they choose what is asked for; fields for one server do not.
//!
//! Source: RFC 9110 §9.3.1, §9.3.2, §9.3.5, §13.1, §15.4.

use std::io::{self, Write};

use crate::answer::{read_head, refused};
use crate::body::Body;
use crate::client::{Client, Field};
use crate::condition::Condition;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::extent::Extent;
use crate::get::{REDIRECTS_MAX, redirected};
use crate::head::{Framing, Head};
use crate::interrupt::Interrupt;
use crate::pool::Home;
use crate::range::Range;
use crate::tls::Sending;
use crate::url::Url;
use crate::validator::Validator;

/// A request without content.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// What is to be done.
    pub method: Method,
    /// With what.
    pub url: &'a Url,
    /// Which bytes of it; for GET alone.
    pub range: Range,
    /// In which case.
    pub condition: Condition<'a>,
    /// More fields, which replace the client's of the same name. After a redirect to another origin
    /// they are not sent.
    pub fields: &'a [Field],
}

/// Methods of requests without content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The representation.
    Get,
    /// Its head alone.
    Head,
    /// That it be gone. Redirects are errors, since a second server was not meant.
    Delete,
    /// What the server makes of the URL's query, as a service for passwords that expire does.
    /// Redirects are errors.
    Post,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Delete => "DELETE",
            Self::Post => "POST",
        }
    }
}

impl<'a> Ask<'a> {
    /// All of it, without a condition.
    #[must_use]
    pub const fn new(method: Method, url: &'a Url) -> Self {
        Self { method, url, range: Range::Whole, condition: Condition::Always, fields: &[] }
    }

    fn lines(&self) -> Result<String, &'static str> {
        let has_range = self.method == Method::Get && self.range != Range::Whole;
        let range =
            if has_range { format!("Range: bytes={}\r\n", self.range) } else { String::new() };
        let length = if self.method == Method::Post { "Content-Length: 0\r\n" } else { "" };
        Ok(range + length + &self.condition.line(has_range)?)
    }
}

/// What a server answers.
#[derive(Debug)]
pub struct Response<'i> {
    /// The status code, 200 to 999.
    pub status: u16,
    /// The other fields.
    pub head: Head,
    /// The content: nothing after a HEAD, 204 and 304. After a HEAD its `total` is the length that
    /// a GET would yield, and of a 416 that of the representation.
    pub body: Body<'i>,
    /// Where it came from: behind the redirects.
    pub url: Url,
}

impl Response<'_> {
    /// The same, if the server has done what was asked for, or says why the condition or the range
    /// does not let it: status 2xx, 304, 404, 412 and 416.
    ///
    /// # Errors
    ///
    /// [`ClientError::Status`] for all others, with the time in Retry-After.
    pub fn accepted(self) -> Result<Self, ClientError> {
        match self.status {
            200..300 | 304 | 404 | 412 | 416 => Ok(self),
            _ => Err(refused(&self.url, self.head)),
        }
    }
}

/// An answer whose content has not been looked at.
pub(crate) struct Answered<'i> {
    pub(crate) connection: Connection<'i>,
    pub(crate) head: Head,
    pub(crate) url: Url,
    /// Where the connection may be kept.
    pub(crate) home: Option<Home>,
}

impl<'i> Answered<'i> {
    /// The answer with its content; `asked` is the range of a GET.
    pub(crate) fn content(self, asked: Option<Range>) -> Result<Response<'i>, ClientError> {
        let wrong = |why: String| ClientError::wrong(&self.url, why);
        let (head, status) = (&self.head, self.head.status);
        let framing = match status {
            204 | 304 => Framing::Length(0),
            _ => head.framing().map_err(|why| wrong(why.to_owned()))?,
        };
        let extent = match (asked, status) {
            (Some(range), 200 | 203 | 206) => Extent::of(head, framing, range).map_err(wrong)?,
            _ => {
                let total = head.complete_length().filter(|_| status == 416);
                Extent { start: 0, len: framing.len(), total, is_range: false }
            }
        };
        Ok(self.response(framing, extent))
    }

    /// The answer to a HEAD, after which nothing follows.
    fn heading(self) -> Result<Response<'i>, ClientError> {
        let framing = self.head.framing().map_err(|why| ClientError::wrong(&self.url, why))?;
        let total = framing.len().filter(|_| self.head.status == 200);
        let extent = Extent { start: 0, len: Some(0), total, is_range: false };
        Ok(self.response(Framing::Length(0), extent))
    }

    fn response(self, framing: Framing, extent: Extent) -> Response<'i> {
        let Self { connection, head, url, home } = self;
        let body = Body::new((connection, home), framing, extent, Validator::of(&head));
        Response { status: head.status, head, body, url }
    }
}

impl Client {
    /// Asks a server. Every final answer is a value, whatever its status; [`Response::accepted`]
    /// tells those that are of use from the others.
    ///
    /// # Errors
    ///
    /// [`ClientError::Open`] if the server cannot be reached or does not answer;
    /// [`ClientError::Protocol`] for what is not HTTP, for a range that was not asked for, and for
    /// more than [`REDIRECTS_MAX`] redirects; [`ClientError::Redirect`] for one of a DELETE or a
    /// POST. One that leads nowhere is a value, as buckets in other regions answer so.
    pub fn ask<'i>(
        &self,
        ask: &Ask<'_>,
        interrupt: &'i Interrupt,
    ) -> Result<Response<'i>, ClientError> {
        let answered = self.follow(ask, interrupt, &|_| Ok(()))?;
        match ask.method {
            Method::Get => answered.content(Some(ask.range)),
            Method::Head => answered.heading(),
            Method::Delete | Method::Post => answered.content(None),
        }
    }

    /// Asks, and follows redirects.
    pub(crate) fn follow<'i>(
        &self,
        ask: &Ask<'_>,
        interrupt: &'i Interrupt,
        connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
    ) -> Result<Answered<'i>, ClientError> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let (connection, head) = self.exchange(ask, &url, interrupt, connected)?;
            let leads_on = matches!(head.status, 301 | 302 | 303 | 307 | 308)
                && head.field("location").is_some_and(|location| !location.is_empty());
            if !leads_on {
                let home = self.home(&url, &head);
                return Ok(Answered { connection, head, url, home });
            }
            let to = redirected(&url, head)?;
            match ask.method {
                Method::Get | Method::Head => url = to,
                Method::Delete | Method::Post => {
                    return Err(ClientError::Redirect { url: url.to_string(), to: Box::new(to) });
                }
            }
        }
        let what = format!("it redirects more than {REDIRECTS_MAX} times");
        Err(ClientError::Protocol { end: url.to_string(), what })
    }

    /// Asks once.
    fn exchange<'i>(
        &self,
        ask: &Ask<'_>,
        url: &Url,
        interrupt: &'i Interrupt,
        connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
    ) -> Result<(Connection<'i>, Head), ClientError> {
        let lines = ask.lines().map_err(|why| ClientError::wrong(url, why))?;
        let request = self.request((ask.method.name(), url), ask.url, ask.fields, &lines)?;
        let kept = match ask.method {
            Method::Get | Method::Head => {
                self.send_over_kept(&request, url, interrupt, connected)?
            }
            Method::Delete | Method::Post => None,
        };
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.send_over_new(&request, url, interrupt, connected)?,
        };
        let head = read_head(&mut connection, url)?;
        Ok((connection, head))
    }

    fn send_over_new<'i>(
        &self,
        request: &str,
        url: &Url,
        interrupt: &'i Interrupt,
        connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
    ) -> Result<Connection<'i>, ClientError> {
        let mut connection = self.connect(url, Sending::Request, interrupt)?;
        connected(&connection)
            .and_then(|()| connection.write_all(request.as_bytes()))
            .and_then(|()| connection.flush())
            .map_err(|error| ClientError::open("ask", url, error))?;
        Ok(connection)
    }
}
