//! A codec whose messages keep their file-backed fields as references, and the service around a
//! generated one that sends them so.
//!
//! tonic lets a codec write into one contiguous buffer only, which cannot hold a reference. So the
//! encoder leaves that buffer empty and puts the message, as a [`Rope`], where the [`ByReference`]
//! that polls the body on this thread finds it: in place of tonic's header of an empty message it
//! sends the rope. Where no [`ByReference`] polls, the message is written into the buffer.
//!
//! Source: gRPC over HTTP/2, "Length-Prefixed-Message".

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use prost::Message;
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::server::NamedService;
use tonic_prost::ProstDecoder;
use tower_service::Service;
use underpass::{FileBytes, Rope};

/// prost's messages, to be sent by reference under [`ByReference`].
#[derive(Debug)]
pub struct FileCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for FileCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for FileCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = FileEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> FileEncoder<T> {
        FileEncoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstDecoder::new(BufferSettings::default())
    }
}

/// The encoder of [`FileCodec`].
#[derive(Debug)]
pub struct FileEncoder<T>(PhantomData<T>);

/// Room for the small fields of a message, and no second message in a frame.
const ONE_MESSAGE: (usize, usize) = (1024, 1);

impl<T: Message> Encoder for FileEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, message: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        HANDED_OVER.with_borrow_mut(|slot| match slot {
            Slot::Closed => {
                message.encode_raw(buffer);
                Ok(())
            }
            Slot::Open => {
                *slot = Slot::Filled(framed(&message)?);
                Ok(())
            }
            Slot::Filled(_) => Err(Status::internal("two messages in one frame")),
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(ONE_MESSAGE.0, ONE_MESSAGE.1)
    }
}

/// The message behind its header: not compressed, then the length.
fn framed(message: &impl Message) -> Result<Rope, Status> {
    let len = message.encoded_len();
    let too_long = |_| Status::resource_exhausted(format!("a message of {len} bytes"));
    let mut rope = Rope::new();
    rope.put_u8(0);
    rope.put_u32(u32::try_from(len).map_err(too_long)?);
    message.encode_raw(&mut rope);
    Ok(rope)
}

/// Whether a message can be handed over on this thread, and the one that was.
enum Slot {
    Closed,
    Open,
    Filled(Rope),
}

thread_local! {
    static HANDED_OVER: RefCell<Slot> = const { RefCell::new(Slot::Closed) };
}

/// Polls a body; its frame, and the message that was handed over meanwhile.
fn poll_with_slot<R>(poll: impl FnOnce() -> R) -> (R, Option<Rope>) {
    let _restored = Restored(HANDED_OVER.replace(Slot::Open));
    let answer = poll();
    match HANDED_OVER.replace(Slot::Closed) {
        Slot::Filled(rope) => (answer, Some(rope)),
        Slot::Open | Slot::Closed => (answer, None),
    }
}

/// The slot as it was before a poll, and is again after it, even if the poll panics: in a slot that
/// stayed open the messages of other bodies on this thread would be lost.
struct Restored(Slot);

impl Drop for Restored {
    fn drop(&mut self) {
        HANDED_OVER.set(std::mem::replace(&mut self.0, Slot::Closed));
    }
}

/// A service generated with [`FileCodec`], whose answers go by reference.
///
/// Each file that a message refers to is checked before it is handed on and again before the
/// trailers, which say that all went well: a call whose file lost bytes or was changed ends with
/// `DATA_LOSS`. What is sent after that check, the connections of [`incoming`](crate::incoming)
/// check.
///
/// Compressed answers, and those of services with another codec, are sent as they are.
/// `max_encoding_message_size` does not see what goes by reference; gRPC's own limit of 4 GiB
/// holds.
#[derive(Debug, Clone)]
pub struct ByReference<S>(S);

impl<S> ByReference<S> {
    /// Has what `service` answers go by reference.
    pub const fn new(service: S) -> Self {
        Self(service)
    }
}

impl<S: NamedService> NamedService for ByReference<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for ByReference<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answering = self.0.call(request);
        Box::pin(async {
            let response = answering.await?;
            if response.headers().contains_key("grpc-encoding") {
                return Ok(response);
            }
            Ok(response.map(|body| Body::new(Pieces::of(body))))
        })
    }
}

/// A body whose messages are replaced by what the encoder handed over.
struct Pieces {
    body: Body,
    /// What is left of the message under way.
    pieces: VecDeque<Bytes>,
    /// The files referred to last, each once. They stay open, so each has a descriptor.
    files: VecDeque<FileBytes>,
}

/// The most files that a call keeps open until its end. The oldest is checked when it goes.
const FILES_MAX: usize = 64;

impl Pieces {
    const fn of(body: Body) -> Self {
        Self { body, pieces: VecDeque::new(), files: VecDeque::new() }
    }

    /// The next piece of a message; a file is checked before each.
    fn next_piece(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        let piece = self.pieces.pop_front()?;
        let checked = FileBytes::of(&piece).map_or(Ok(()), |file| self.note(file));
        Some(checked.map(|()| Frame::data(piece)))
    }

    /// Checks a file that is referred to, and keeps it to be checked again.
    fn note(&mut self, file: FileBytes) -> Result<(), Status> {
        vouch(&file)?;
        let is_known = |known: &FileBytes| known.file().as_raw_fd() == file.file().as_raw_fd();
        if self.files.iter().any(is_known) {
            return Ok(());
        }
        self.files.push_back(file);
        let oldest = (self.files.len() > FILES_MAX).then(|| self.files.pop_front()).flatten();
        oldest.as_ref().map_or(Ok(()), vouch)
    }
}

/// An error if the file is not what it was: what was sent of it must not be completed.
fn vouch(file: &FileBytes) -> Result<(), Status> {
    file.verify().map_err(|error| Status::data_loss(error.to_string()))
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(piece) = self.next_piece() {
            return Poll::Ready(Some(piece));
        }
        let (frame, message) = poll_with_slot(|| Pin::new(&mut self.body).poll_frame(cx));
        let frame = ready!(frame);
        if let Some(message) = message {
            self.pieces = message.into_pieces();
            return Poll::Ready(self.next_piece());
        }
        // Trailers say that all went well: not before every file is asked once more.
        if frame.as_ref().is_some_and(|frame| frame.as_ref().is_ok_and(Frame::is_trailers)) {
            self.files.iter().try_for_each(vouch)?;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pieces").field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn a_poll_that_panics_leaves_no_slot_open() {
        let panicked = catch_unwind(|| poll_with_slot(|| panic!("as a stream of messages may")));
        assert!(panicked.is_err());
        assert!(HANDED_OVER.with_borrow(|slot| matches!(slot, Slot::Closed)));
    }
}
