use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::Path;
use std::task::{Context, Poll};

use http::{HeaderMap, Request};
use http_body::Frame;

use super::super::{Upload, Wanted};
use super::*;
use crate::root::Root;
use crate::site_options::SiteOptions;

/// Frames that come one after the other; then nothing, for ever, unless they end.
struct Frames {
    frames: VecDeque<io::Result<Frame<Bytes>>>,
    has_end: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.frames.pop_front() {
            None if !self.has_end => Poll::Pending,
            frame => Poll::Ready(frame),
        }
    }
}

fn frames(pieces: &[&'static [u8]]) -> Frames {
    let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
    Frames { frames, has_end: true }
}

/// Receives it as `a`, and says how that ended.
async fn receive_in(dir: &Path, content: Frames, bytes_max: u64) -> Result<(), u16> {
    let upload = Upload::new(Vec::new(), bytes_max, true);
    let head = Request::put("/a").body(()).unwrap().into_parts().0;
    let wanted = Wanted::of(&head, &upload, &SiteOptions::new(dir.into())).unwrap();
    let place = Place::make(&Root::open(dir).unwrap(), &upload, &wanted).unwrap();
    let place = receive(content, place, bytes_max).await.map_err(|it| it.status().as_u16())?;
    place.name(&upload, &wanted).map(drop).map_err(|it| it.status().as_u16())
}

#[tokio::test]
async fn all_pieces_are_written_in_their_order() {
    static LARGE: [u8; WRITE_BYTES] = [b'y'; WRITE_BYTES];
    let dir = tempfile::tempdir().unwrap();
    let mut content = frames(&[b"01", b"", b"2", &LARGE, b"3"]);
    content.frames.extend((0..3 * PIECES_MAX).map(|_| Ok(Frame::data(Bytes::from_static(b"z")))));
    content.frames.push_back(Ok(Frame::trailers(HeaderMap::new())));
    receive_in(dir.path(), content, u64::MAX).await.unwrap();
    let tail = "z".repeat(3 * PIECES_MAX);
    let expected = [b"012", &LARGE[..], b"3", tail.as_bytes()].concat();
    assert!(fs::read(dir.path().join("a")).unwrap() == expected);
    receive_in(dir.path(), frames(&[]), u64::MAX).await.unwrap();
    assert_eq!(fs::read(dir.path().join("a")).unwrap(), b"");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_whole_or_is_too_long_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut cut = frames(&[b"01"]);
    cut.frames.push_back(Err(io::ErrorKind::UnexpectedEof.into()));
    let stalled = Frames { has_end: false, ..frames(&[b"01"]) };
    for (content, bytes_max, status) in
        [(cut, 9, 400), (stalled, 9, 408), (frames(&[b"01", b"23"]), 3, 413)]
    {
        assert_eq!(receive_in(dir.path(), content, bytes_max).await, Err(status));
        let none = || fs::read_dir(dir.path()).unwrap().next().is_none().then_some(());
        // Another thread removes it.
        while none().is_none() {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(receive_in(dir.path(), frames(&[b"01", b"23"]), 4).await, Ok(()));
}

/// A few bytes, time and again.
struct Trickle {
    piece: &'static [u8],
    left: u32,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl Trickle {
    fn new(piece: &'static [u8], times: u32) -> Self {
        Self { piece, left: times, pause: Box::pin(tokio::time::sleep(QUIET_MAX / 2)) }
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        std::task::ready!(self.pause.as_mut().poll(cx));
        self.pause = Box::pin(tokio::time::sleep(QUIET_MAX / 2));
        self.left -= 1;
        Poll::Ready((self.left > 0).then(|| Ok(Frame::data(Bytes::from_static(self.piece)))))
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_next_to_nothing_has_no_place_for_ever() {
    let all = async |content| {
        let mut arriving = Arriving::new(content);
        loop {
            match arriving.next().await {
                Ok(Some(_)) => {}
                end => break end.map(|_| ()).map_err(|it| it.status().as_u16()),
            }
        }
    };
    static LITTLE: [u8; QUIET_BYTES / 2 - 1] = [b'x'; QUIET_BYTES / 2 - 1];
    static ENOUGH: [u8; QUIET_BYTES] = [b'x'; QUIET_BYTES];
    let since = Instant::now();
    assert_eq!(all(Trickle::new(&LITTLE, 100)).await, Err(408));
    assert_eq!(since.elapsed(), QUIET_MAX);
    assert_eq!(all(Trickle::new(&ENOUGH, 100)).await, Ok(()));
}
