//! The times of a conversation, counted by looking at it once a second.
//!
//! Each of them counts one thing: a head of which part has come, content that no one is interested
//! in, or a client that takes nothing of its response. What a client takes is what it has
//! acknowledged: the socket's queue can hold megabytes, which a slow client reads for minutes
//! without there being room for more.

use std::time::Duration;

use tokio::time::Instant;

use super::End;
use crate::progress::Progress;
use crate::transport::Transport;

/// How often a connection is looked at.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// How long a client may take not a byte of a response.
pub(crate) const STALLED_FOR: Duration = Duration::from_secs(60);

/// Ticks a request head may take to arrive whole, however many bytes of it do arrive.
const HEAD_TICKS_MAX: u32 = 30;

/// Ticks the content of a request may take to end, after the response.
const CONTENT_TICKS_MAX: u32 = 30;

/// What the last ticks have shown.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    stall: Stall,
    in_head: u32,
    in_content: u32,
}

impl Ticks {
    /// One time runs at a time, and starts anew when another has run. While a client still takes
    /// the last response, it is not waited for with its next request.
    pub(super) fn tick(&mut self, progress: &Progress, transport: &Transport) -> Option<End> {
        let Self { mut stall, in_head, in_content } = std::mem::take(self);
        let queued = transport.unacknowledged();
        if queued > 0 {
            let is_over = stall.is_over(queued, progress.written_bytes());
            self.stall = stall;
            is_over.then_some(End::Stalled)
        } else if progress.is_in_content() {
            self.in_content = in_content + 1;
            (self.in_content > CONTENT_TICKS_MAX).then_some(End::TooLong)
        } else if progress.is_in_head() {
            self.in_head = in_head + 1;
            (self.in_head > HEAD_TICKS_MAX).then_some(End::HeadTimeout)
        } else {
            None
        }
    }
}

/// A client that takes nothing of what is in the socket's queue.
#[derive(Debug, Default)]
pub(crate) struct Stall {
    /// What the queue held, and how many bytes had been written or were left.
    before: (usize, u64),
    since: Option<Instant>,
}

impl Stall {
    /// At a look: whether it has been so for too long.
    pub(crate) fn is_over(&mut self, queued: usize, position: u64) -> bool {
        let is_taken = queued == 0 || (queued, position) != self.before;
        self.before = (queued, position);
        let since = self.since.take().filter(|_| !is_taken).unwrap_or_else(Instant::now);
        self.since = Some(since);
        since.elapsed() > STALLED_FOR
    }
}
