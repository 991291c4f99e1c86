//! Bodies of objects that the test fills.

use std::future::poll_fn;
use std::time::Instant;

use tokio::runtime::{Builder, Runtime};
use underpass::Stability;
use underpass_remote::testing::Feed;
use underpass_testkit::payload;

use super::*;
use crate::body::to_be_sent;

const LEN: u64 = 300_000;

fn feed() -> Feed {
    Feed::new(tempfile::tempfile().unwrap().into(), LEN).unwrap()
}

/// A byte that is zero was in a hole.
fn content(range: Range<u64>) -> Vec<u8> {
    payload::pattern(range).into_iter().map(|byte| byte + 1).collect()
}

fn difference(got: &[u8], start: u64, len: u64) -> Option<String> {
    let lowered: Vec<u8> = got.iter().map(|byte| byte.wrapping_sub(1)).collect();
    payload::difference(&lowered, start, len)
}

fn give(feed: &Feed, range: Range<u64>) {
    feed.give(range.start, &content(range)).unwrap();
}

fn arriving(feed: &Feed, range: Range<u64>, timeout: Duration) -> Arriving {
    let file = feed.object().file().try_clone_to_owned().unwrap();
    let file = FileBytes::map(file, ..LEN, Stability::None).unwrap();
    let bytes = to_be_sent(file.clone());
    Arriving::new(feed.object().want(range), file, bytes, "http://o/x".into(), timeout)
}

thread_local! {
    /// A body that waits has its timer in the runtime that it waited in.
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().unwrap();
}

fn run<T>(test: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(test))
}

/// What is there without waiting: its pieces, and how it ends.
fn now(arriving: &mut Arriving) -> (Vec<Bytes>, Poll<Option<String>>) {
    let mut pieces = Vec::new();
    let end = run(poll_fn(|cx| {
        Poll::Ready(loop {
            match arriving.poll_next(cx) {
                Poll::Ready(Some(Ok(piece))) => pieces.push(piece),
                Poll::Ready(Some(Err(error))) => break Poll::Ready(Some(error.to_string())),
                Poll::Ready(None) => break Poll::Ready(None),
                Poll::Pending => break Poll::Pending,
            }
        })
    }));
    (pieces, end)
}

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn what_is_there_is_given_by_address_and_nothing_of_a_hole() {
    let feed = feed();
    let mut whole = arriving(&feed, 0..LEN, LONG);
    assert_eq!(whole.left(), LEN);
    assert_eq!(now(&mut whole), (vec![], Poll::Pending));
    give(&feed, 100_000..150_000);
    assert_eq!(now(&mut whole), (vec![], Poll::Pending), "a hole is before it");
    give(&feed, 0..70_000);
    let (pieces, end) = now(&mut whole);
    assert_eq!((pieces.len(), end), (1, Poll::Pending));
    assert_eq!(difference(&pieces.concat(), 0, 70_000), None);
    assert_eq!(pieces[0].as_ptr(), whole.bytes.as_ptr(), "not a copy");
    assert_eq!(whole.left(), LEN - 70_000);
    // The part in the middle comes to its readers without the rest.
    let (middle, end) = now(&mut arriving(&feed, 110_000..140_000, LONG));
    assert_eq!(end, Poll::Ready(None));
    assert_eq!(difference(&middle.concat(), 110_000, 30_000), None);
    give(&feed, 70_000..100_000);
    give(&feed, 150_000..LEN);
    let (pieces, end) = now(&mut whole);
    assert_eq!(
        (difference(&pieces.concat(), 70_000, LEN - 70_000), end),
        (None, Poll::Ready(None))
    );
}

#[test]
fn of_an_object_that_is_cut_each_gets_what_is_there_and_then_why() {
    let feed = feed();
    give(&feed, 0..70_000);
    let [mut more, mut enough] = [LEN, 65_000].map(|end| arriving(&feed, 1_000..end, LONG));
    feed.cut(ObjectError::Refused { status: 503 });
    let (pieces, end) = now(&mut more);
    assert_eq!(difference(&pieces.concat(), 1_000, 69_000), None);
    let why = "http://o/x at byte 70000: the origin answered 503";
    assert_eq!(end, Poll::Ready(Some(why.to_owned())));
    let (pieces, end) = now(&mut enough);
    assert_eq!((difference(&pieces.concat(), 1_000, 64_000), end), (None, Poll::Ready(None)));
}

#[test]
fn a_cut_is_the_origins_and_other_errors_are_not() {
    let feed = feed();
    feed.cut(ObjectError::Replaced);
    let mut arriving = arriving(&feed, 0..1, LONG);
    let error = run(poll_fn(|cx| arriving.poll_next(cx))).unwrap().unwrap_err();
    assert!(is_of_origin(&error));
    assert!(!is_of_origin(&io::Error::other("it was changed")));
    assert!(!is_of_origin(&io::ErrorKind::UnexpectedEof.into()));
}

#[test]
fn an_origin_has_its_time_from_the_last_byte_that_came_for_anyone() {
    const TIME: Duration = Duration::from_secs(2);
    let feed = feed();
    let mut end = arriving(&feed, LEN - 1..LEN, TIME);
    let begin = Instant::now();
    run(async {
        let mut waiting = std::pin::pin!(poll_fn(|cx| end.poll_next(cx)));
        // It is polled again because others got something, or not at all.
        for at in 0..2 {
            let some = tokio::time::timeout(TIME * 3 / 5, waiting.as_mut()).await;
            assert!(some.is_err(), "{some:?}");
            give(&feed, at..at + 1);
        }
        let given = Instant::now();
        let error = waiting.await.unwrap().unwrap_err().to_string();
        assert_eq!(error, format!("http://o/x at byte {}: nothing came for 2 s", LEN - 1));
        assert!(given.elapsed() >= TIME - Duration::from_millis(50), "{:?}", given.elapsed());
    });
    assert!(begin.elapsed() >= TIME * 2);
}

#[test]
fn copies_are_made_of_what_is_there_and_end_where_it_ends() {
    let feed = feed();
    let mut frames = ArrivingFrames::new(arriving(&feed, 1_000..LEN, LONG));
    let mut read = Vec::new();
    let mut read_now = |frames: &mut ArrivingFrames| {
        run(poll_fn(|cx| {
            Poll::Ready(loop {
                match frames.poll_ready(cx) {
                    Poll::Ready(Ok(true)) => {
                        let piece = frames.frames().unwrap().next().unwrap().unwrap();
                        read.extend_from_slice(&piece);
                    }
                    Poll::Ready(Ok(false)) => break Ok(true),
                    Poll::Ready(Err(error)) => break Err(error.to_string()),
                    Poll::Pending => break Ok(false),
                }
            })
        }))
    };
    assert_eq!(read_now(&mut frames), Ok(false));
    give(&feed, 0..100_001);
    assert_eq!(read_now(&mut frames), Ok(false));
    give(&feed, 200_000..LEN);
    assert_eq!(read_now(&mut frames), Ok(false));
    give(&feed, 100_001..200_000);
    assert_eq!(read_now(&mut frames), Ok(true));
    assert_eq!(difference(&read, 1_000, LEN - 1_000), None);
}
