//! GET: asks for a representation or a range of it, and follows redirects.
//!
//! Source: RFC 9110 §9.3.1, §13.1.5, §14.2, §15.3.7, §15.4, §15.5.17.

use std::io::{self, Write};

use crate::answer::{read_head, refused};
use crate::body::Body;
use crate::client::Client;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::extent::Extent;
use crate::head::Head;
use crate::interrupt::Interrupt;
use crate::range::Range;
use crate::tls::Sending;
use crate::url::Url;
use crate::validator::Validator;

/// How many redirects are followed.
pub const REDIRECTS_MAX: u32 = 10;

impl Client {
    /// Asks for a representation, or for a part of it if it still has this validator. A server that
    /// does not send ranges may answer with all of it. `connected` is called with each connection
    /// before its answer is awaited.
    ///
    /// # Errors
    ///
    /// [`ClientError::Status`] for an answer that is not 200, 203, 206 or 416 for an empty rest;
    /// [`ClientError::Range`] for a 416 where the range is past the end; [`ClientError::Protocol`]
    /// for a range that was not asked for.
    pub fn get<'i>(
        &self,
        first: &Url,
        range: Range,
        if_range: Option<&Validator>,
        interrupt: &'i Interrupt,
        connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
    ) -> Result<Body<'i>, ClientError> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS_MAX {
            let fields = range_fields(range, if_range);
            let request = self.request("GET", &url, first, &fields)?;
            let mut connection = self.connect(&url, Sending::Request, interrupt)?;
            connected(&connection)
                .and_then(|()| connection.write_all(request.as_bytes()))
                .and_then(|()| connection.flush())
                .map_err(|error| ClientError::open("ask", &url, error))?;
            let head = read_head(&mut connection, &url)?;
            match head.status {
                301 | 302 | 303 | 307 | 308 => url = redirected(&url, head)?,
                200 | 203 | 206 => return answer(connection, &head, &url, range),
                416 => return unsatisfied(&url, head, range),
                _ => return Err(refused(&url, head)),
            }
        }
        let what = format!("it redirects more than {REDIRECTS_MAX} times");
        Err(ClientError::Protocol { end: url.to_string(), what })
    }
}

fn range_fields(range: Range, if_range: Option<&Validator>) -> String {
    if range == Range::Whole {
        return String::new();
    }
    let validator = if_range.and_then(Validator::if_range);
    let validator = validator.map(|it| format!("If-Range: {it}\r\n")).unwrap_or_default();
    format!("Range: bytes={range}\r\n{validator}")
}

/// Where a redirect leads.
pub(crate) fn redirected(url: &Url, head: Head) -> Result<Url, ClientError> {
    // An empty reference would lead back to where it came from.
    let Some(location) = head.field("location").filter(|location| !location.is_empty()) else {
        return Err(refused(url, head));
    };
    url.join(location).map_err(|why| ClientError::Protocol {
        end: url.to_string(),
        what: format!("cannot follow its redirect to '{location}': {why}"),
    })
}

fn answer<'i>(
    connection: Connection<'i>,
    head: &Head,
    url: &Url,
    asked: Range,
) -> Result<Body<'i>, ClientError> {
    let wrong = |what: String| ClientError::Protocol { end: url.to_string(), what };
    let framing = head.framing().map_err(|what| wrong(what.to_owned()))?;
    let extent = Extent::of(head, framing, asked).map_err(wrong)?;
    Ok(Body::new(connection, framing, extent, Validator::of(head)))
}

/// What 416 means: nothing is left there, or the range is past the end.
fn unsatisfied<'i>(url: &Url, head: Head, asked: Range) -> Result<Body<'i>, ClientError> {
    let Some(len) = head.complete_length() else { return Err(refused(url, head)) };
    let (range, end) = (asked.to_string(), url.to_string());
    match asked.within(len) {
        Some((_, 0)) => Ok(Body::empty(len)),
        None => Err(ClientError::Range { range, end, len }),
        Some(_) => {
            let what = format!("it refuses the range {range}, and says that it has {len} bytes");
            Err(ClientError::Protocol { end, what })
        }
    }
}
