//! The wire between h2 and a connection's transport. h2 writes and flushes each frame by itself;
//! here frames are gathered, and leave together at the end of a turn, or when there are many.
//!
//! Content is not copied for that: h2 looks at a piece just before it writes some of it, so the
//! address of a slice tells whether it is of that piece, which can then be held.

use std::cell::{Cell, Ref, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::room::Room;
use super::session::Session;
use super::told::Frames;
use crate::site::Site;
use crate::transport::Transport;

/// As much is gathered before it is written.
const GATHERED_BYTES: usize = 256 << 10;

/// A shorter slice is copied, so that there are fewer.
const HELD_BYTES_MIN: usize = 1024;

/// Slices that one call takes.
const SLICES_MAX: usize = 64;

/// Reads before streams and other connections have their turn: a client may send requests, and
/// reset them, faster than they can be begun.
const READS_A_TURN: u32 = 4;

/// A transport and what is to leave by it.
#[derive(Debug)]
pub(super) struct Outlet {
    transport: RefCell<Transport>,
    site: Rc<Site>,
    gathered: RefCell<Gathered>,
    room: Room,
    written_bytes: Cell<u64>,
    reads_left: Cell<u32>,
}

impl Outlet {
    pub(super) fn new(transport: Transport, site: &Rc<Site>) -> Self {
        Self {
            transport: RefCell::new(transport),
            site: Rc::clone(site),
            gathered: RefCell::default(),
            room: Room::default(),
            written_bytes: Cell::default(),
            reads_left: Cell::new(READS_A_TURN),
        }
    }

    pub(super) fn into_transport(self) -> Transport {
        self.room.wake();
        self.transport.into_inner()
    }

    pub(super) fn transport(&self) -> Ref<'_, Transport> {
        self.transport.borrow()
    }

    pub(super) fn begin_turn(&self) {
        self.reads_left.set(READS_A_TURN);
    }

    /// Whether the transport has taken all.
    pub(super) fn is_empty(&self) -> bool {
        self.gathered.borrow().bytes == 0
    }

    /// Bytes that the client has not acknowledged.
    pub(super) fn queued(&self) -> usize {
        self.gathered.borrow().bytes + self.transport.borrow().unacknowledged()
    }

    /// Bytes of files that may be read now, if h2 holds this many.
    pub(super) fn poll_room(&self, cx: &Context<'_>, held: usize) -> Poll<usize> {
        let ahead = held + self.gathered.borrow().bytes;
        self.room.poll(cx, ahead, || underpass::send_room(&*self.transport.borrow()).unwrap_or(0))
    }

    /// Bytes that the transport has taken.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes.get()
    }

    /// Whether there are bytes for us that were not read.
    pub(super) fn has_bytes(&self) -> bool {
        self.transport.borrow().has_bytes()
    }

    /// Writes what was gathered, and flushes the transport.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (mut gathered, mut transport) =
            (self.gathered.borrow_mut(), self.transport.borrow_mut());
        while gathered.bytes > 0 {
            let written = ready!(
                gathered.with_slices(|slices| { transport.poll_write_vectored(cx, slices) })
            )?;
            self.site.counts.count_sent(written, &transport.take_account());
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            gathered.advance(written);
            self.room.note_written(written);
            self.written_bytes.set(self.written_bytes.get() + written as u64);
        }
        self.room.wake();
        transport.poll_flush(cx)
    }
}

/// Slices that are to leave.
#[derive(Debug, Default)]
struct Gathered {
    slices: VecDeque<Bytes>,
    /// Copied bytes that follow them.
    copied: BytesMut,
    bytes: usize,
}

impl Gathered {
    /// Adds a slice, which may be of what was shown.
    fn add(&mut self, slice: &[u8], shown: &Bytes) {
        self.bytes += slice.len();
        let (of_slice, of_shown) = (slice.as_ptr_range(), shown.as_ptr_range());
        let is_shown = of_shown.start <= of_slice.start && of_slice.end <= of_shown.end;
        if is_shown && slice.len() >= HELD_BYTES_MIN {
            self.seal();
            self.slices.push_back(shown.slice_ref(slice));
        } else {
            self.copied.extend_from_slice(slice);
        }
    }

    fn seal(&mut self) {
        if !self.copied.is_empty() {
            self.slices.push_back(self.copied.split().freeze());
        }
    }

    fn with_slices<R>(&mut self, f: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        self.seal();
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.slices.len().min(SLICES_MAX);
        for (slice, bytes) in slices.iter_mut().zip(&self.slices) {
            *slice = IoSlice::new(bytes);
        }
        f(&slices[..count])
    }

    fn advance(&mut self, mut bytes: usize) {
        self.bytes -= bytes;
        while let Some(first) = self.slices.front_mut() {
            if bytes < first.len() {
                return first.advance(bytes);
            }
            bytes -= first.len();
            self.slices.pop_front();
        }
    }
}

/// An [`Outlet`] as h2 sees it.
#[derive(Debug)]
pub(super) struct Wire {
    outlet: Rc<Outlet>,
    /// Bytes that were read from the socket already, to be read first.
    unread: Bytes,
    session: Rc<Session>,
    /// What is written.
    frames: Frames,
}

impl Wire {
    pub(super) fn new(outlet: Rc<Outlet>, unread: Bytes, session: Rc<Session>) -> Self {
        Self { outlet, unread, session, frames: Frames::default() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let n = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(n));
            return Poll::Ready(Ok(()));
        }
        let Some(left) = self.outlet.reads_left.get().checked_sub(1) else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        self.outlet.reads_left.set(left);
        self.outlet.transport.borrow_mut().poll_read(cx, buf)
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
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.outlet.gathered.borrow().bytes >= GATHERED_BYTES {
            ready!(self.outlet.poll_drain(cx))?;
        }
        let Self { outlet, session, frames, .. } = &mut *self;
        let mut gathered = outlet.gathered.borrow_mut();
        let (before, shown) = (gathered.bytes, session.take_shown());
        for slice in slices {
            frames.look(slice, |told| session.note_told(told));
            gathered.add(slice, &shown);
        }
        Poll::Ready(Ok(gathered.bytes - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Not after each frame.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The conversation gets the transport back, and closes the connection.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outlet.poll_drain(cx)
    }
}
