//! A connection in hyper's hands, until it ends, is idle for too long, or its client takes nothing.
//!
//! What a client takes is what it has acknowledged: the socket's queue holds megabytes.
//!
//! Source: RFC 9112 §9.3 (persistence), §9.5 (timeouts); tcp(7), `SIOCOUTQ`.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{MissedTickBehavior, interval};
use underpass::unacknowledged;
use underpass_daemon::Accepted;

use super::responder::respond;
use super::turn::Turn;
use super::worker::Worker;

/// How long a connection may be idle, and how long the head of a request may take.
const IDLE: Duration = Duration::from_secs(75);

/// A head that is larger is answered 431.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How often a connection is looked at.
const TICK: Duration = Duration::from_secs(5);

/// Ticks in which a client may take not a byte of an answer: a minute.
const STALLED_TICKS_MAX: u32 = 12;

/// Serves a connection until it ends.
pub(super) async fn serve(socket: Accepted, worker: &Rc<Worker>) {
    let client = socket.peer();
    let (socket, written) = (Rc::new(socket), Rc::<Cell<u64>>::default());
    let turn = Rc::<Turn>::default();
    let wire =
        Wire { socket: Rc::clone(&socket), written: Rc::clone(&written), turn: Rc::clone(&turn) };
    let service =
        service_fn(|request| respond(Rc::clone(worker), Rc::clone(&turn), client, request));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_header_size(HEAD_BYTES_MAX)
        .half_close(true)
        .serve_connection(TokioIo::new(wire), service);
    let mut connection = pin!(connection);
    let (mut stopping, mut is_stopping) = (worker.stopping(), false);
    let mut stall = Stall::default();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            end = connection.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!("connection ended: {error}");
                }
                return;
            }
            _ = stopping.wait_for(|stops| *stops), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = tick.tick() => {
                let queued = unacknowledged(&*socket).unwrap_or(0);
                if stall.look(queued, written.get()) > STALLED_TICKS_MAX {
                    socket.reset_when_closed();
                    return;
                }
            }
        }
    }
}

/// For how long a client has taken nothing.
#[derive(Debug, Default)]
struct Stall {
    queued: usize,
    written: u64,
    ticks: u32,
}

impl Stall {
    /// Ticks in a row, this one included, in which bytes waited and none was acknowledged.
    const fn look(&mut self, queued: usize, written: u64) -> u32 {
        let is_taken = queued == 0 || queued != self.queued || written != self.written;
        let ticks = if is_taken { 0 } else { self.ticks + 1 };
        *self = Self { queued, written, ticks };
        ticks
    }
}

/// A socket that counts what is written to it, and tells when that was all.
struct Wire {
    socket: Rc<Accepted>,
    written: Rc<Cell<u64>>,
    turn: Rc<Turn>,
}

/// Tries once the socket is ready, again if it was not.
fn poll_io(
    cx: &mut Context<'_>,
    poll_ready: impl Fn(&mut Context<'_>) -> Poll<io::Result<()>>,
    mut call: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(poll_ready(cx))?;
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        let socket = &self.socket;
        let read = poll_io(cx, |cx| socket.poll_read_ready(cx), || socket.try_read(room));
        let count = ready!(read)?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = &self.socket;
        let write = || socket.try_write_vectored(slices);
        let count = ready!(poll_io(cx, |cx| socket.poll_write_ready(cx), write))?;
        self.written.set(self.written.get() + count as u64);
        Poll::Ready(Ok(count))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.turn.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(rustix::net::shutdown(&*self.socket, rustix::net::Shutdown::Write)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_stalls_while_bytes_wait_and_none_is_taken() {
        let mut stall = Stall::default();
        let looks = [
            ((0, 0), 0),
            ((0, 0), 0),
            ((500, 500), 0),
            ((500, 500), 1),
            ((500, 500), 2),
            ((500, 900), 0),
            ((400, 900), 0),
            ((400, 900), 1),
            ((0, 900), 0),
        ];
        for ((queued, written), ticks) in looks {
            assert_eq!(stall.look(queued, written), ticks, "{queued} {written}");
        }
    }
}
