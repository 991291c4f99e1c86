//! GET as a copy needs it: content, or the reason why there is none.
//!
//! Source: RFC 9110 §9.3.1, §13.1.5, §14.2, §15.3.7, §15.4, §15.5.17.

use std::io;

use crate::answer::refused;
use crate::ask::{Ask, Method};
use crate::body::Body;
use crate::client::Client;
use crate::condition::Condition;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::head::Head;
use crate::interrupt::Interrupt;
use crate::range::Range;
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
    /// Those of [`Self::ask`]; [`ClientError::Status`] for an answer that is not 200, 203, 206 or
    /// 416 for an empty rest; [`ClientError::Range`] for a 416 where the range is past the end.
    pub fn get<'i>(
        &self,
        first: &Url,
        range: Range,
        if_range: Option<&Validator>,
        interrupt: &'i Interrupt,
        connected: &dyn Fn(&Connection<'i>) -> io::Result<()>,
    ) -> Result<Body<'i>, ClientError> {
        let condition = if_range.map_or(Condition::Always, Condition::IfRange);
        let ask = Ask { range, condition, ..Ask::new(Method::Get, first) };
        let answered = self.follow(&ask, interrupt, connected)?;
        match answered.head.status {
            200 | 203 | 206 => Ok(answered.content(Some(range))?.body),
            416 => unsatisfied(&answered.url, answered.head, range),
            _ => Err(refused(&answered.url, answered.head)),
        }
    }
}

/// Where a redirect leads.
pub(crate) fn redirected(url: &Url, head: Head) -> Result<Url, ClientError> {
    // An empty reference would lead back to where it came from.
    let Some(location) = head.field("location").filter(|location| !location.is_empty()) else {
        return Err(refused(url, head));
    };
    url.join(location).map_err(|why| {
        ClientError::wrong(url, format!("cannot follow its redirect to '{location}': {why}"))
    })
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
