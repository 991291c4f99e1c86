//! The times of a conversation, counted by looking at it once a second.
//!
//! Each of them counts one thing: a head of which part has come, content that no one is interested
//! in, or a client that takes nothing of its response. What a client takes is what it has
//! acknowledged: the socket's queue can hold megabytes, which a slow client reads for minutes
//! without there being room for more.

use std::time::Duration;

use super::End;
use crate::progress::Progress;
use crate::transport::Transport;

/// How often a connection is looked at.
pub(super) const TICK: Duration = Duration::from_secs(1);

/// Ticks in which a client may take not a byte of a response.
pub(super) const STALLED_TICKS_MAX: u32 = 60;

/// Ticks a request head may take to arrive whole, however many bytes of it do arrive.
const HEAD_TICKS_MAX: u32 = 30;

/// Ticks the content of a request may take to end, after the response.
const CONTENT_TICKS_MAX: u32 = 30;

/// What the last ticks have shown.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    /// What [`Progress::bytes`] was.
    bytes: (u64, u64),
    /// What the socket's queue held.
    queued: usize,
    stalled: u32,
    in_head: u32,
    in_content: u32,
}

impl Ticks {
    /// One time runs at a time, and starts anew when another has run. While a client still takes
    /// the last response, it is not waited for with its next request.
    pub(super) fn tick(&mut self, progress: &Progress, transport: &Transport) -> Option<End> {
        let Self { bytes, queued, stalled, in_head, in_content } = std::mem::take(self);
        self.bytes = progress.bytes();
        if progress.is_idle() {
            return (self.bytes == bytes).then_some(End::Idle);
        }
        self.queued = transport.unacknowledged();
        if self.queued > 0 {
            let is_taken = (self.queued, self.bytes.1) != (queued, bytes.1);
            self.stalled = if is_taken { 0 } else { stalled + 1 };
            (self.stalled > STALLED_TICKS_MAX).then_some(End::Stalled)
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
