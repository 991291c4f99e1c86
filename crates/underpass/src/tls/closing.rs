//! Ending what this end sends, such that the kernel loses none of it.
//!
//! With no room in the socket's queue the kernel keeps a record, or the rest of one, before the
//! queue. shutdown(2) drops it. The socket cannot be asked for it: but a record that is sent when
//! the queue has ample room pushes all before it into the queue, and what the kernel keeps follows
//! as soon as the peer makes room.
//!
//! Source: net/tls/tls_sw.c, `tls_tx_records` and `tls_sw_write_space`; tcp(7), `SIOCOUTQ`.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use underpass_sys::socket::unacknowledged;

use super::stream::{end, poll_send};

/// Room for two records and what the kernel's bookkeeping adds to them.
const AMPLE_BYTES: usize = 64 * 1024;

/// How often the queue is asked for, where there was too little room.
const ASK_EVERY: Duration = Duration::from_millis(10);

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) enum Closing {
    #[default]
    Open,
    /// close_notify is sent. It may be kept before the queue, behind other records.
    Draining {
        was_empty: bool,
        pause: Pin<Box<Sleep>>,
    },
    /// The queue has everything.
    Drained,
    Shut,
}

impl Closing {
    /// Sends close_notify by `notify`, and ends the sending once the queue has it.
    pub(super) fn poll(
        &mut self,
        socket: &TcpStream,
        cx: &mut Context<'_>,
        notify: impl Fn(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        loop {
            match self {
                Self::Open => {
                    let is_ample = ready!(poll_send(socket, cx, |fd| {
                        let is_ample = has_ample_room(fd)?;
                        notify(fd).map(|()| is_ample)
                    }))?;
                    *self = if is_ample { Self::Drained } else { Self::draining(false) };
                }
                Self::Draining { was_empty, pause } => {
                    ready!(pause.as_mut().poll(cx));
                    let is_empty = unacknowledged(socket)? == 0;
                    let is_over = (is_empty && *was_empty) || is_dead(socket)?;
                    *self = if is_over { Self::Drained } else { Self::draining(is_empty) };
                }
                Self::Drained => {
                    end(socket)?;
                    *self = Self::Shut;
                }
                Self::Shut => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Empty twice is empty: between the two, the kernel has queued what it kept.
    fn draining(was_empty: bool) -> Self {
        Self::Draining { was_empty, pause: Box::pin(tokio::time::sleep(ASK_EVERY)) }
    }
}

/// Half of the buffer is bookkeeping (socket(7), `SO_SNDBUF`).
fn has_ample_room(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let size = rustix::net::sockopt::socket_send_buffer_size(socket)?;
    Ok(unacknowledged(socket)? + AMPLE_BYTES <= size / 2)
}

/// Whether nothing can be sent any more, as after a reset.
fn is_dead(socket: &TcpStream) -> io::Result<bool> {
    let mut events = [PollFd::new(socket, PollFlags::empty())];
    rustix::event::poll(&mut events, Some(&Timespec::default()))?;
    Ok(events[0].revents().intersects(PollFlags::HUP | PollFlags::ERR))
}
