//! Requests cut from a connection's bytes.
//!
//! A frame is a length of four bytes and as many bytes. What has arrived is read into a buffer of
//! the worker; a frame that is whole there is cut from it, and a longer one gets memory of its own,
//! which grows only as its bytes arrive.
//!
//! Source: Kafka's protocol guide, "Common Request and Response Structure".

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use underpass_daemon::Accepted;

use super::vitals::{Doing, Vitals};

/// Bytes of the length before a frame.
const PREFIX: usize = 4;

/// How much is read at first: most requests are shorter.
const FIRST_READ: usize = 16 << 10;

/// How much memory a frame gets ahead of its bytes.
const AHEAD_MAX: usize = 1 << 20;

thread_local! {
    static FIRST: RefCell<Box<[u8; FIRST_READ]>> = RefCell::new(Box::new([0; FIRST_READ]));
}

/// What has been read of a connection and not been taken.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: BytesMut,
}

/// Why no frame comes any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The peer has left, or the server told it to, between two frames.
    #[error("the connection has ended")]
    End,
    /// It left within a frame.
    #[error("the connection ended {missing} bytes before the end of a request")]
    Cut { missing: usize },
    /// The length is none.
    #[error("a request cannot have {length} bytes; the limit is {max} (--max-request-bytes)")]
    Length { length: i32, max: usize },
    /// The socket has failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Frames {
    /// The next request, without its length.
    pub(super) async fn next(
        &mut self,
        socket: &Accepted,
        vitals: &Vitals,
        max: usize,
    ) -> Result<Bytes, FrameError> {
        loop {
            let wanted = match self.length(max)? {
                Some(length) if self.buffer.len() >= PREFIX + length => {
                    self.buffer.advance(PREFIX);
                    return Ok(self.take(length));
                }
                Some(length) => PREFIX + length,
                None => PREFIX,
            };
            if !self.buffer.is_empty() {
                vitals.now(Doing::Receiving);
            }
            if self.read(socket, wanted).await? == 0 {
                return Err(self.ended(wanted));
            }
        }
    }

    /// The length of the frame that begins the buffer, once it is known.
    fn length(&self, max: usize) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk() else { return Ok(None) };
        let length = i32::from_be_bytes(*prefix);
        match usize::try_from(length) {
            Ok(frame) if frame <= max => Ok(Some(frame)),
            _ => Err(FrameError::Length { length, max }),
        }
    }

    /// Cuts the frame off; what follows it stays.
    fn take(&mut self, length: usize) -> Bytes {
        if self.buffer.len() == length {
            return std::mem::take(&mut self.buffer).freeze();
        }
        self.buffer.split_to(length).freeze()
    }

    /// Reads some of the `wanted` bytes that the buffer is to hold. 0 at the end.
    async fn read(&mut self, socket: &Accepted, wanted: usize) -> io::Result<usize> {
        let missing = wanted - self.buffer.len();
        poll_fn(|cx| {
            loop {
                ready!(socket.poll_read_ready(cx))?;
                let tried = if missing <= FIRST_READ {
                    self.read_first(socket)
                } else {
                    self.read_more(socket, missing)
                };
                match tried {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    done => return Poll::Ready(done),
                }
            }
        })
        .await
    }

    /// Reads into the worker's memory: an idle connection has none.
    fn read_first(&mut self, socket: &Accepted) -> io::Result<usize> {
        FIRST.with_borrow_mut(|first| {
            let count = socket.try_read(&mut first[..])?;
            self.buffer.extend_from_slice(&first[..count]);
            Ok(count)
        })
    }

    /// Reads into the frame's own memory.
    fn read_more(&mut self, socket: &Accepted, missing: usize) -> io::Result<usize> {
        let ahead = missing.min(AHEAD_MAX);
        self.buffer.reserve(ahead);
        let mut room = (&mut self.buffer).limit(ahead);
        match socket {
            Accepted::Tcp(stream, _) => stream.try_read_buf(&mut room),
            Accepted::Unix(stream) => stream.try_read_buf(&mut room),
        }
    }

    fn ended(&self, wanted: usize) -> FrameError {
        match self.buffer.len() {
            0 => FrameError::End,
            there => FrameError::Cut { missing: wanted - there },
        }
    }
}
