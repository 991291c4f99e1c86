//! How far files are read ahead of the socket: as much as it has room for, or one frame where it
//! has none. So a client that takes nothing costs a frame, however wide its windows are.
//!
//! Source: net/core/sock.c, `sk_stream_memory_free`; net/ipv4/tcp.c, `skb->truesize`.

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker};

/// The frames that clients accept if they do not say otherwise.
pub(super) const FRAME_BYTES: usize = 16 << 10;

/// The room of one socket.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// What it has at least: more once the client has acknowledged some of what was sent.
    left: Cell<usize>,
    /// What it has taken in all.
    taken: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Room {
    /// Bytes that may be read in whole frames, if `ahead` are here already that the socket has not
    /// taken. `measure` says what room it has.
    pub(super) fn poll(
        &self,
        cx: &Context<'_>,
        ahead: usize,
        measure: impl FnOnce() -> usize,
    ) -> Poll<usize> {
        if self.left.get() < ahead + FRAME_BYTES {
            // Its buffers may need as much again: 1.7 % with long segments, 80 % with short ones.
            // A kernel that is short of memory says so late: half of what it has taken, at first.
            let trusted = (self.taken.get() / 2).max(FRAME_BYTES);
            self.left.set((measure() / 2).min(ahead + trusted));
        }
        let frames = self.left.get().saturating_sub(ahead) / FRAME_BYTES;
        // With one that does not fit, the socket says when there is room again.
        if frames > 0 || ahead == 0 {
            return Poll::Ready(frames.max(1) * FRAME_BYTES);
        }
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The socket has taken bytes.
    pub(super) fn note_written(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
        self.taken.set(self.taken.get().saturating_add(bytes));
    }

    /// The socket has taken all, or takes no more at all.
    pub(super) fn wake(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(room: &Room, ahead: usize, measured: usize) -> Option<usize> {
        let cx = Context::from_waker(Waker::noop());
        match room.poll(&cx, ahead, || measured) {
            Poll::Ready(frames) => Some(frames / FRAME_BYTES),
            Poll::Pending => None,
        }
    }

    #[test]
    fn as_much_is_read_as_there_is_room_for_and_a_frame_where_there_is_none() {
        let room = Room::default();
        assert_eq!(poll(&room, 0, 10 * FRAME_BYTES), Some(1), "a new one is not trusted yet");
        room.note_written(20 * FRAME_BYTES);
        assert_eq!(poll(&room, 0, 10 * FRAME_BYTES + 2), Some(5));
        // Asked again only once less than a frame is left.
        assert_eq!(poll(&room, 4 * FRAME_BYTES, 0), Some(1));
        assert_eq!(poll(&room, 5 * FRAME_BYTES, 0), None);
        assert_eq!(poll(&room, 1, 0), None);
        assert_eq!(poll(&room, 0, 0), Some(1));
        assert_eq!(poll(&room, FRAME_BYTES, 6 * FRAME_BYTES), Some(2));
        room.note_written(2 * FRAME_BYTES);
        assert_eq!(poll(&room, 0, 0), Some(1));
        room.note_written(FRAME_BYTES);
        assert_eq!(poll(&room, 0, 14 * FRAME_BYTES), Some(7));
    }
}
