//! Closing a connection while its client may still send.
//!
//! A socket that is closed with bytes in it that were not read resets the connection, and a client
//! that is reset loses what it has not read of the response. So this end first says that it sends
//! no more, and then discards what comes until the client closes, or its time is over.
//!
//! Source: RFC 9112 §9.6; nginx, `lingering_close`, whose times these are.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::io::ReadBuf;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::account::Account;
use crate::answer::{Answer, Content};
use crate::transport::Transport;

/// How long bytes are discarded, once the client has all of the response.
const TIME_MAX: Duration = Duration::from_secs(30);

/// How long to wait for more of them.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// How often the socket is asked for what it holds.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// As much as is discarded at a time, and reads before other connections have their turn.
const DISCARD_BYTES: usize = 16 * 1024;
const DISCARDS_A_TURN: u32 = 16;

/// What a socket took of an answer.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) bytes: usize,
    pub(crate) content_bytes: u64,
    pub(crate) account: Account,
}

/// Sends the answer to what is not a request.
///
/// `text` stands in the place of what is said of the status.
pub(crate) fn send_error(
    transport: &Transport,
    status: StatusCode,
    text: Option<&'static str>,
) -> Sent {
    let Answer { headers, content, .. } = Answer::error_with(status, text);
    let mut answer = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in &headers {
        answer.extend_from_slice(
            &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
        );
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    answer.extend_from_slice(format!("connection: close\r\ndate: {date}\r\n\r\n").as_bytes());
    let head_bytes = answer.len();
    if let Content::Memory(text) = content {
        answer.extend_from_slice(&text);
    }
    // Nothing is under way, so there is room for a few hundred bytes, or else no one who reads.
    let (bytes, account) = transport.send_now(&answer);
    Sent { bytes, content_bytes: bytes.saturating_sub(head_bytes) as u64, account }
}

/// Sends the end, and discards what comes. `has_all` is called once the client has the response, of
/// which it may take nothing for `send_time`.
pub(crate) async fn close_in_stages(
    transport: &mut Transport,
    send_time: Duration,
    has_all: impl FnOnce(),
) {
    if poll_fn(|cx| transport.poll_shutdown(cx)).await.is_err() {
        return;
    }
    let mut has_all = Some(has_all);
    let mut queued = usize::MAX;
    let mut since = Instant::now();
    let (mut end, mut quiet_since) = (since + TIME_MAX, since);
    loop {
        match timeout(LOOK_EVERY, poll_fn(|cx| poll_discard(transport, cx))).await {
            Ok(Ok(1..)) => {
                quiet_since = Instant::now();
                yield_now().await;
            }
            Ok(Ok(0) | Err(_)) => return,
            Err(_) => {}
        }
        let now = Instant::now();
        let left = if has_all.is_some() { transport.unacknowledged() } else { 0 };
        if left > 0 {
            if left != queued {
                (queued, since) = (left, now);
            } else if since.elapsed() > send_time {
                transport.reset_when_closed();
                return;
            }
            (end, quiet_since) = (now + TIME_MAX, now);
        } else if let Some(has_all) = has_all.take() {
            has_all();
        }
        if now >= end || now - quiet_since > QUIET_MAX {
            return;
        }
    }
}

/// Discards what has come, for a turn: how many bytes, 0 at the end.
fn poll_discard(transport: &mut Transport, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut room = [MaybeUninit::uninit(); DISCARD_BYTES];
    let mut total = 0;
    for _ in 0..DISCARDS_A_TURN {
        let mut discarded = ReadBuf::uninit(&mut room);
        let read = transport.poll_read(cx, &mut discarded);
        if read.is_pending() && total > 0 {
            break;
        }
        ready!(read)?;
        if discarded.filled().is_empty() {
            break;
        }
        total += discarded.filled().len();
    }
    Poll::Ready(Ok(total))
}
