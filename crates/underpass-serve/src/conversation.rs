//! A connection in hyper's hands, from the first byte of a request until it is idle or over.

mod http1;
pub(crate) mod http2;
mod ticks;

use std::error::Error;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use rustix::io::Errno;
use underpass::ErrorKind;

use crate::access_log::{Cut, Line, Requested};
use crate::body::cut_by;
use crate::closing::send_error;
use crate::progress::Progress;
use crate::refusal::chain;
use crate::taking::TooSlow;
use crate::transport::Transport;

pub(crate) use http1::converse;
pub use http2::Http2Options;

/// Why a conversation ends.
#[derive(Debug)]
enum End {
    /// It is idle and to be parked.
    Idle,
    /// The last response has left, or the client has.
    Over,
    /// The client sends more than is waited for.
    TooLong,
    /// The head of a request did not arrive in time.
    HeadTimeout,
    /// hyper ended it.
    Failed(hyper::Error),
    /// The client takes too little of its response.
    Stalled(TooSlow),
}

/// Answers a head that never became a request.
/// `text` says more than the status does.
pub(crate) fn refuse(
    transport: &Transport,
    status: StatusCode,
    text: Option<&'static str>,
    progress: &Progress,
) {
    let (sent, site) = (send_error(transport, status, text), &progress.site);
    site.counts.count_request(status);
    site.counts.count_sent(sent.bytes, &sent.account);
    site.record(&Line {
        client: progress.client,
        user: None,
        time: SystemTime::now(),
        request: Requested::Line(progress.first_line().as_bytes()),
        status,
        content_bytes: sent.content_bytes,
        account: sent.account,
        cut: None,
        cached: None,
        took: Duration::ZERO,
    });
}

/// A client that goes away is its own affair; a file that did not stay what it was is the
/// operator's.
fn report(error: &hyper::Error, progress: &Progress) {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match inner.and_then(|inner| inner.downcast_ref::<underpass::Error>()) {
            Some(outgoing) if !is_of_client(outgoing.kind) => {
                return progress.cut(Cut::File, outgoing);
            }
            _ => cause = error.source(),
        }
    }
    match error.source() {
        // The body failed, and not the way to the client.
        Some(source) if error.is_user() => {
            let by = source.downcast_ref().map_or(Cut::File, cut_by);
            progress.cut(by, chain(source));
        }
        _ => tracing::debug!("connection ended: {error}"),
    }
}

/// Whether the client, or the way to it, is gone.
pub(crate) const fn is_of_client(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Io(
            Errno::PIPE
                | Errno::CONNRESET
                | Errno::CONNABORTED
                | Errno::TIMEDOUT
                | Errno::HOSTUNREACH
                | Errno::NETUNREACH
                | Errno::NETDOWN
        )
    )
}

#[cfg(test)]
mod tests;
