//! Plain requests for kept files, answered without hyper, as most requests of a busy server are.
//!
//! Such an answer is made once a second for its file. What cannot be answered here goes to
//! hyper as it came, and there is no difference in what a client, the log or the metrics see. A
//! response that the socket does not take whole needs its slices and no more until its client has
//! it, however slowly that reads.
//!
//! Source: RFC 9112 §3, §9.3; RFC 9110 §6.6.1 (Date).

use std::cell::RefCell;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::ReadBuf;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

use crate::access_log::Cut;
use crate::account::Account;
use crate::cached::Cached;
use crate::connection::{Idle, Shared};
use crate::conversation::is_of_client;
use crate::plain_request::PlainRequest;
use crate::sending::Sending;
use crate::taking::Taking;
use crate::transport::Transport;

/// The most that is read at once. A longer head is not plain.
const READ_BYTES: usize = 8 << 10;

/// Bytes that a response may write before other connections get their turn.
const TURN_BYTES: usize = 4 << 20;

/// How often a client that takes its time is looked at, or more often if it has little.
const LOOK_EVERY: Duration = Duration::from_secs(10);

thread_local! {
    static READ: RefCell<Box<[u8; READ_BYTES]>> = RefCell::new(Box::new([0; READ_BYTES]));
}

/// What became of the bytes that had come.
pub(crate) enum Directly {
    /// There were none yet.
    Nothing,
    /// They were a request, and the socket has its whole response.
    Answered,
    /// They were a request, and this is left of its response.
    Rest(Box<Response>),
    /// They are for hyper.
    Unread(Bytes),
    /// The connection is over.
    Over,
}

/// Reads what has come, and answers it if it is a plain request for a kept file.
pub(crate) async fn answer(idle: &mut Idle, shared: &Shared) -> Directly {
    poll_fn(|cx| {
        Poll::Ready(READ.with_borrow_mut(|room| answer_now(cx, &mut room[..], idle, shared)))
    })
    .await
}

fn answer_now(cx: &mut Context<'_>, room: &mut [u8], idle: &mut Idle, shared: &Shared) -> Directly {
    let mut read = ReadBuf::new(room);
    match idle.transport.poll_read(cx, &mut read) {
        Poll::Pending => return Directly::Nothing,
        Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
        Poll::Ready(_) => return Directly::Over,
    }
    let (peer, unread) = (idle.transport.peer(), read.filled());
    // Whom the request is from, a field of it may say.
    let is_of_another = || shared.site.proxies.speaks_for_others(peer);
    let is_long = unread.len() > shared.limits.header_bytes_max;
    if is_long || idle.https_port.is_some() || is_of_another() {
        return hand_on(unread);
    }
    let Some(request) = PlainRequest::read(unread) else { return hand_on(unread) };
    let Some(mut response) = Response::to(&request, shared) else { return hand_on(unread) };
    let cached = response.cached;
    let sending = || Sending::of_plain(&shared.site, peer, &request).with(cached);
    response.sending = shared.site.is_logging().then(sending);
    let written = response.poll_write(cx, &mut idle.transport, shared);
    if matches!(written, Poll::Ready(Ok(()))) && response.is_whole() {
        return Directly::Answered;
    }
    // It takes longer or fails: there may be something to tell of it.
    response.sending.get_or_insert_with(sending).note_content(response.content_bytes);
    match written {
        Poll::Ready(Err(error)) => response.fail(&error),
        Poll::Ready(Ok(())) | Poll::Pending => Directly::Rest(Box::new(response)),
    }
}

fn hand_on(unread: &[u8]) -> Directly {
    Directly::Unread(Bytes::copy_from_slice(unread))
}

/// A response, and what the socket has not taken of it.
pub(crate) struct Response {
    /// The head, and behind it content that is in memory.
    front: Bytes,
    /// How much of that is head.
    head_left: usize,
    /// Content that leaves by reference, or is read for it.
    content: Bytes,
    /// Content that was taken before there was anything to note it in.
    content_bytes: u64,
    sending: Option<Sending>,
    cached: Option<Cached>,
}

impl Response {
    /// The response to a plain request, if its file is kept and mapped and the server is not
    /// stopping.
    fn to(request: &PlainRequest<'_>, shared: &Shared) -> Option<Self> {
        if shared.is_stopping.get() {
            return None;
        }
        let file = shared.site.plain(request)?;
        let len = file.len()?;
        let (mut front, head_left) = file.plain_answer();
        let mut content = Bytes::new();
        if request.is_head {
            front.truncate(head_left);
        } else if front.len() == head_left {
            content = file.to_be_sent(0..len).into_bytes()?;
        }
        shared.site.counts.count_request(StatusCode::OK);
        let cached = file.cached();
        Some(Self { front, head_left, content, content_bytes: 0, sending: None, cached })
    }

    fn is_whole(&self) -> bool {
        self.left() == 0
    }

    fn left(&self) -> u64 {
        (self.front.len() + self.content.len()) as u64
    }

    /// Writes until the socket has all of it, or has no room, or others are to have their turn.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        transport: &mut Transport,
        shared: &Shared,
    ) -> Poll<io::Result<()>> {
        let mut turn = 0;
        while !self.is_whole() && turn < TURN_BYTES {
            let slices = [&self.front, &self.content].map(|slice| IoSlice::new(slice));
            let first = usize::from(self.front.is_empty());
            let last = if self.content.is_empty() { 1 } else { 2 };
            let written = ready!(transport.poll_write_vectored(cx, &slices[first..last]));
            let (n, account) = (*written.as_ref().unwrap_or(&0), transport.take_account());
            shared.site.counts.count_sent(n, &account);
            self.advance(n, &account);
            if written? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            turn += n;
        }
        if self.is_whole() { transport.poll_flush(cx) } else { Poll::Ready(Ok(())) }
    }

    fn advance(&mut self, written: usize, account: &Account) {
        let of_head = written.min(self.head_left);
        self.head_left -= of_head;
        let of_front = written.min(self.front.len());
        self.front.advance(of_front);
        self.content.advance(written - of_front);
        let content_bytes = (written - of_head) as u64;
        match &mut self.sending {
            Some(sending) => sending.note(content_bytes, account),
            None => self.content_bytes += content_bytes,
        }
    }

    /// Writes what is left as the client takes it. Whether the connection continues.
    pub(crate) async fn send(mut self: Box<Self>, idle: &mut Idle, shared: &Shared) -> bool {
        let every = LOOK_EVERY.min(shared.limits.send_time / 2);
        let first = sleep(first_look(&idle.transport, every));
        let (mut look, mut taking, whole) = (pin!(first), Taking::default(), self.left());
        loop {
            let written = poll_fn(|cx| {
                if let Poll::Ready(written) = self.poll_write(cx, &mut idle.transport, shared) {
                    return Poll::Ready(Some(written));
                }
                look.as_mut().poll(cx).map(|()| None)
            });
            match written.await {
                // The rest was flushed too, which under TLS may take longer.
                Some(Ok(())) if self.is_whole() => return true,
                Some(Ok(())) => yield_now().await,
                Some(Err(error)) => {
                    self.fail(&error);
                    return false;
                }
                None => {
                    let (queued, written) = (idle.transport.unacknowledged(), whole - self.left());
                    if let Some(how) = taking.look(queued, written, &shared.limits) {
                        self.cut(Cut::Client, how);
                        idle.transport.reset_when_closed();
                        return false;
                    }
                    look.as_mut().reset(Instant::now() + every);
                }
            }
        }
    }

    /// A client that goes away is its own affair; a file that did not stay what it was is the
    /// operator's.
    fn fail(&mut self, error: &io::Error) -> Directly {
        let of_file = error.get_ref().and_then(|inner| inner.downcast_ref::<underpass::Error>());
        match of_file.filter(|error| !is_of_client(error.kind)) {
            Some(error) => self.cut(Cut::File, error),
            None => tracing::debug!("connection ended: {error}"),
        }
        Directly::Over
    }

    fn cut(&mut self, by: Cut, reason: impl fmt::Display) {
        self.sending.iter_mut().for_each(|sending| sending.cut(by, &reason));
    }
}

/// Thousands that ask at once are not looked at together: each has its own time.
fn first_look(transport: &Transport, every: Duration) -> Duration {
    let part = transport.as_fd().as_raw_fd().unsigned_abs() % 1000;
    every * part / 1000
}
