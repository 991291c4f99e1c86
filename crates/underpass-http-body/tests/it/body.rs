//! The body itself, frame by frame.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http_body::Body;
use http_body_util::BodyExt;
use underpass::{ErrorKind, FileBytes, Stability};
use underpass_http_body::FileBody;
use underpass_testkit::disk::Disk;
use underpass_testkit::payload::{difference, pattern, patterned_file};
use underpass_testkit::wait::{until, until_file_times_move};

use crate::by_reference;

fn bodies(file: &File, range: std::ops::Range<u64>) -> [FileBody; 2] {
    let mapped = || {
        let file = file.try_clone().unwrap();
        FileBytes::map(file, range.clone(), Stability::Guard).unwrap()
    };
    [by_reference(mapped()), FileBody::copied(mapped())]
}

/// The next item of the stream, which is there at once: no disk is slow, no runtime is near.
fn next(body: &mut FileBody) -> Option<io::Result<Bytes>> {
    match Pin::new(body).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => next,
        Poll::Pending => panic!("there is nothing to wait for"),
    }
}

fn kind(error: &io::Error) -> ErrorKind {
    error.get_ref().unwrap().downcast_ref::<underpass::Error>().unwrap().kind
}

#[tokio::test]
async fn a_range_is_its_bytes_and_says_how_many_they_are() {
    let file = patterned_file(5 << 20).unwrap();
    for body in bodies(&file, 100..(4 << 20) + 100) {
        assert_eq!(Body::size_hint(&body).exact(), Some(4 << 20));
        assert!(!body.is_end_stream());
        let got = body.collect().await.unwrap().to_bytes();
        assert_eq!(difference(&got, 100, 4 << 20), None);
    }
}

#[test]
fn an_empty_range_has_no_frames_and_an_end() {
    let file = patterned_file(10).unwrap();
    for mut body in bodies(&file, 3..3) {
        assert_eq!(Body::size_hint(&body).exact(), Some(0));
        assert!(next(&mut body).is_none() && body.is_end_stream());
    }
}

#[test]
fn a_file_that_changes_after_the_last_piece_by_reference_has_an_error_for_its_end() {
    let file = patterned_file(100_000).unwrap();
    until_file_times_move();
    let [mut body, _] = bodies(&file, 0..100_000);
    assert_eq!(next(&mut body).unwrap().unwrap().len(), 100_000);
    assert!(
        Body::size_hint(&body).exact() == Some(0) && !body.is_end_stream(),
        "the end is not known yet"
    );
    file.write_all_at(b"torn", 0).unwrap();
    assert!(matches!(kind(&next(&mut body).unwrap().unwrap_err()), ErrorKind::Changed));
    assert!(next(&mut body).is_none() && body.is_end_stream());
}

#[test]
fn no_byte_that_was_written_in_mid_send_is_in_a_copied_body() {
    let file = patterned_file(100_000).unwrap();
    until_file_times_move();
    let [_, mut body] = bodies(&file, 0..100_000);
    let first = next(&mut body).unwrap().unwrap();
    assert!(first.len() < 100_000 && first == pattern(0..first.len() as u64));
    file.write_all_at(b"torn", 99_000).unwrap();
    assert!(matches!(kind(&next(&mut body).unwrap().unwrap_err()), ErrorKind::Changed));
    assert!(next(&mut body).is_none());
}

/// With a runtime the disk is waited for elsewhere, and without one here.
#[test]
fn a_file_that_is_not_in_memory_is_copied_with_and_without_a_runtime() {
    let file = patterned_file(300_000).unwrap();
    let evicted = || {
        Disk::evict(file.as_fd()).unwrap();
        let [_, body] = bodies(&file, 0..300_000);
        body
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let got = runtime.block_on(async { evicted().collect().await.unwrap().to_bytes() });
    assert_eq!(difference(&got, 0, 300_000), None);
    let mut body = evicted();
    let got: Vec<u8> = std::iter::from_fn(|| next(&mut body)).flat_map(Result::unwrap).collect();
    assert_eq!(difference(&got, 0, 300_000), None);
}

/// Under `Copy` pieces are copies whatever they were asked to be, and their disk is waited for on
/// the blocking pool.
#[test]
fn frames_that_turn_out_to_be_copies_do_not_wait_for_the_disk_here() {
    let file = patterned_file(300_000).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let waited = until(Duration::from_secs(10), || {
        Disk::evict(file.as_fd()).unwrap();
        let mapped = FileBytes::map(file.try_clone().unwrap(), .., Stability::Copy).unwrap();
        let mut body = by_reference(mapped);
        let polled = Pin::new(&mut body).poll_next(&mut Context::from_waker(Waker::noop()));
        polled.is_pending().then_some(())
    });
    assert!(waited.is_some(), "a disk is not that quick every time");
}
