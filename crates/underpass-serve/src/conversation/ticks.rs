//! The times of a conversation, counted by looking at it once a second.
//!
//! Each of them counts one thing: a head of which part has come, content that no one is interested
//! in, or a client that takes too little of its response.

use std::time::Duration;

use super::End;
use crate::limits::Limits;
use crate::progress::Progress;
use crate::taking::Taking;
use crate::transport::Transport;

/// How often a connection is looked at.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Ticks the content of a request may take to end, after the response.
const CONTENT_TICKS_MAX: u32 = 30;

/// What the last ticks have shown.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    taking: Taking,
    in_head: u32,
    in_content: u32,
}

impl Ticks {
    /// One time runs at a time, and starts anew when another has run. While a client still takes
    /// the last response, it is not waited for with its next request.
    pub(super) fn tick(
        &mut self,
        progress: &Progress,
        transport: &Transport,
        limits: &Limits,
    ) -> Option<End> {
        let Self { mut taking, in_head, in_content } = std::mem::take(self);
        let queued = transport.unacknowledged();
        if queued > 0 {
            let too_slow = taking.look(queued, progress.written_bytes(), limits);
            self.taking = taking;
            too_slow.map(End::Stalled)
        } else if progress.is_in_content() {
            self.in_content = in_content + 1;
            (self.in_content > CONTENT_TICKS_MAX).then_some(End::TooLong)
        } else if progress.is_in_head() {
            self.in_head = in_head + 1;
            (TICK * self.in_head > limits.header_time).then_some(End::HeadTimeout)
        } else {
            None
        }
    }
}
