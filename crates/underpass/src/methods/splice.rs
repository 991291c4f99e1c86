//! splice(2): between a pipe and anything else, by reference where there are pages to lend.
//!
//! `EAGAIN` does not say which end was not ready. With a pipe of ours in between it need not:
//! the pipe is filled only when it is empty, so filling waits for the source and draining for
//! the sink. Where an end is itself a pipe and no second one is used, poll(2) is asked.
//!
//! Source: splice(2). SPLICE_F_MOVE does nothing since 2.6.21, so it is not set. A length above
//! 2^63 - 1 is `EINVAL` since 6.8; steps are far smaller. tcp_read_sock() of Linux stops before
//! an urgent byte.

use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

use crate::ledger::Side;
use crate::methods::count;

/// One end of a splice: a descriptor, and its offset if it is a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct End<'f>(pub(crate) BorrowedFd<'f>, pub(crate) Option<u64>);

/// Moves up to `max` bytes. `more` tells a socket that more follows at once.
pub(crate) fn splice(
    End(from, mut from_at): End<'_>,
    End(to, mut to_at): End<'_>,
    max: u64,
    more: bool,
) -> Result<u64, Errno> {
    let mut flags = SpliceFlags::NONBLOCK;
    flags.set(SpliceFlags::MORE, more);
    rustix::pipe::splice(from, from_at.as_mut(), to, to_at.as_mut(), count(max), flags)
        .map(|n| n as u64)
}

/// What a splice answered; `EINVAL`, a refusal, where an urgent byte of TCP stopped it.
///
/// In front of one it answers as if nothing were there, `EAGAIN` or even 0 once the peer has sent
/// its end. Only a read steps over it. poll(2): `POLLPRI` until then.
pub(crate) fn unless_urgent(
    source: BorrowedFd<'_>,
    answer: Result<u64, Errno>,
) -> Result<u64, Errno> {
    let is_nothing = matches!(answer, Ok(0) | Err(Errno::AGAIN));
    if is_nothing && has(source, PollFlags::PRI) { Err(Errno::INVAL) } else { answer }
}

/// Which of two streams kept a splice from moving anything: the source if it has nothing now.
///
/// Nothing else takes from the source, so if it has something the call found the sink full,
/// even if the sink has room by now. The other way round a source with bytes would be waited
/// for, and no edge would ever come.
pub(crate) fn blocked(source: BorrowedFd<'_>) -> Side {
    if is_ready(source, Side::Source) { Side::Sink } else { Side::Source }
}

/// Whether a call on that side would get somewhere, if only to an error. poll(2), without waiting.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, side: Side) -> bool {
    let events = match side {
        Side::Source => PollFlags::IN,
        Side::Sink => PollFlags::OUT,
    };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An interrupted poll counts as ready: the call that follows finds out.
    rustix::event::poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&now)) != Ok(0)
}

/// Whether poll(2) says just this of a descriptor, without waiting.
fn has(fd: BorrowedFd<'_>, event: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut asked = [PollFd::from_borrowed_fd(fd, event)];
    rustix::event::poll(&mut asked, Some(&now)).is_ok()
        && asked.iter().any(|answer| answer.revents().contains(event))
}
