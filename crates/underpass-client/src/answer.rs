//! The final head of an answer, and what is said of a status that was not wanted.
//!
//! Source: RFC 9110 §15.2.

use std::time::SystemTime;

use rustix::io::Errno;

use crate::connection::Connection;
use crate::error::ClientError;
use crate::head::Head;
use crate::url::Url;

/// How many interim heads (1xx) may come before the final one.
const INTERIM_MAX: u32 = 100;

/// Reads the final head, and skips interim ones (1xx).
pub(crate) fn read_head(connection: &mut Connection<'_>, url: &Url) -> Result<Head, ClientError> {
    for _ in 0..=INTERIM_MAX {
        let bytes = connection
            .read_head()
            .map_err(|error| ClientError::open("read the answer from", url, error))?;
        let head = Head::parse(&bytes)
            .map_err(|what| ClientError::Protocol { end: url.to_string(), what })?;
        // 101 would be another protocol, and none was asked for.
        if head.status >= 200 || head.status == 101 {
            return Ok(head);
        }
    }
    let what = format!("it sent more than {INTERIM_MAX} interim answers");
    Err(ClientError::Protocol { end: url.to_string(), what })
}

pub(crate) fn refused(url: &Url, head: Head) -> ClientError {
    let retry_after = head.retry_after(SystemTime::now());
    let Head { status, reason, .. } = head;
    ClientError::Status { url: url.to_string(), status, reason, retry_after }
}

/// Whether a call failed because the peer closed: it may have said why before.
#[must_use]
pub fn is_closed(errno: Errno) -> bool {
    matches!(errno, Errno::PIPE | Errno::CONNRESET)
}
