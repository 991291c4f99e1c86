//! GET and PUT over HTTP/1.1, with the content kept out of this program's memory.
//!
//! Reading the head of a response takes not one byte after it (`MSG_PEEK`), so content of a known
//! length can be spliced from the socket, and a request's content goes by sendfile; with TLS too,
//! if the kernel does it. Chunked content passes through memory.
//!
//! Source: RFC 9110 §9.3.1, §9.3.4, §14, §15; RFC 9112 §6.3, §7.1.

mod body;
mod chunked;
mod client;
mod connection;
mod credentials;
mod early;
mod extent;
#[cfg(fuzzing)]
pub mod fuzzing;
mod get;
mod head;
mod netrc;
mod proxy;
mod put;
mod tls;
mod trust;
pub(crate) mod url;
mod validator;

use std::time::SystemTime;

use rustix::io::Errno;

pub(crate) use self::body::Body;
pub(crate) use self::chunked::{Chunked, ChunkedWriter};
pub use self::client::{Client, Field, FieldError};
pub(crate) use self::connection::Connection;
pub(crate) use self::early::is_answer;
pub(crate) use self::get::REDIRECTS_MAX;
use self::head::Head;
pub use self::netrc::Netrc;
pub use self::proxy::Proxies;
pub(crate) use self::put::Put;
pub use self::trust::Trust;
use self::url::Url;
pub(crate) use self::validator::Validator;
use crate::error::CopyError;

/// How many interim heads (1xx) may come before the final one.
const INTERIM_MAX: u32 = 100;

/// How the content of a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads the final head, and skips interim ones (1xx).
fn read_head(connection: &mut Connection<'_>, url: &Url) -> Result<Head, CopyError> {
    for _ in 0..=INTERIM_MAX {
        let bytes = connection
            .read_head()
            .map_err(|error| CopyError::open("read the answer from", url, error))?;
        let head = Head::parse(&bytes)
            .map_err(|what| CopyError::Protocol { end: url.to_string(), what })?;
        // 101 would be another protocol, and none was asked for.
        if head.status >= 200 || head.status == 101 {
            return Ok(head);
        }
    }
    let what = format!("it sent more than {INTERIM_MAX} interim answers");
    Err(CopyError::Protocol { end: url.to_string(), what })
}

fn refused(url: &Url, head: Head) -> CopyError {
    let retry_after = head.retry_after(SystemTime::now());
    let Head { status, reason, .. } = head;
    CopyError::Status { url: url.to_string(), status, reason, retry_after }
}

/// Whether a call failed because the peer closed: it may have said why before.
pub(crate) fn is_closed(errno: Errno) -> bool {
    matches!(errno, Errno::PIPE | Errno::CONNRESET)
}
