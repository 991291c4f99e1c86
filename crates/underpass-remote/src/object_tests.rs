//! An object, its readers and its fills, with an origin that is a function.

use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::task::Wake;
use std::thread;
use std::time::Duration;

use super::*;
use crate::fill::Step;

const ORIGIN: OriginFacts =
    OriginFacts { round_trip: Duration::from_millis(20), has_ranges: true, fills_max: 4 };

/// Never a zero byte, which is what a hole has.
fn byte(at: u64) -> u8 {
    u8::try_from(at % 251 + 1).unwrap()
}

fn content(range: Range<u64>) -> Vec<u8> {
    range.map(byte).collect()
}

fn object(len: u64, ask: impl Fn(Fill) + Send + Sync + 'static) -> Arc<Object> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(len).unwrap();
    Object::new(file.into(), Extents::none(len), ORIGIN, Box::new(ask))
}

/// An object that had come in part to an earlier process, which kept these checksums of it.
fn found_again(
    file: std::fs::File,
    had: Range<u64>,
    ask: impl Fn(Fill) + Send + Sync + 'static,
) -> Arc<Object> {
    let len = file.metadata().unwrap().len();
    let mut unproved = Extents::none(len);
    let mut at = had.start;
    while at < had.end {
        let end = unproved.cell(at).end.min(had.end);
        let crc32c = crc32c::crc32c(&content(at..end));
        unproved.insert(Piece { start: at, len: u32::try_from(end - at).unwrap(), crc32c });
        at = end;
    }
    Object::new(file.into(), unproved, ORIGIN, Box::new(ask))
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// All of what is wanted, as a reader that may wait reads it.
fn read(wanted: &mut Wanted) -> Result<Vec<u8>, ObjectError> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut bytes = Vec::new();
    while !wanted.range().is_empty() {
        let Poll::Ready(part) = wanted.poll(&Context::from_waker(&waker)) else {
            thread::park_timeout(Duration::from_secs(60));
            continue;
        };
        let part = part?;
        let mut read = vec![0; usize::try_from(part.end - part.start).unwrap()];
        let n = rustix::io::pread(wanted.object().file(), &mut read, part.start).unwrap();
        assert_eq!(n, read.len());
        bytes.extend(read);
        wanted.advance(part.end - part.start);
    }
    Ok(bytes)
}

/// Gives a fill its bytes, `step` at a time, and tells how many were sent for it.
fn give(mut fill: Fill, step: u64) -> u64 {
    // What is not needed at its beginning is not asked for.
    while let Step::Skip(n) = fill.next().unwrap() {
        fill.skip(n);
    }
    let start = fill.range().start;
    loop {
        let at = fill.range().start;
        match fill.next().unwrap() {
            Step::Take(room) => fill.take(&content(at..at + room.min(step))).unwrap(),
            Step::Skip(n) => fill.skip(n),
            Step::End => return at - start,
        }
    }
}

#[test]
fn many_readers_of_one_object_have_one_request_and_all_its_bytes() {
    let (asked, fills) = mpsc::channel();
    let object = object(3_000_000, move |fill| asked.send(fill).unwrap());
    let readers: Vec<_> = (0..50)
        .map(|_| {
            let mut wanted = object.want(0..u64::MAX);
            thread::spawn(move || read(&mut wanted).unwrap() == content(0..3_000_000))
        })
        .collect();
    give(fills.recv().unwrap(), 10_000);
    assert!(readers.into_iter().all(|reader| reader.join().unwrap()));
    assert!(object.is_whole());
    assert!(fills.try_recv().is_err(), "a second request");
}

#[test]
fn readers_anywhere_have_their_bytes_and_no_byte_is_asked_for_much() {
    let (asked, fills) = mpsc::channel();
    let len = 8 << 20;
    let object = object(len, move |fill: Fill| asked.send(fill).unwrap());
    let origin = thread::spawn(move || {
        let given: Vec<_> =
            fills.iter().map(|fill| thread::spawn(move || give(fill, 5000))).collect();
        (given.len(), given.into_iter().map(|given| given.join().unwrap()).sum::<u64>())
    });
    let starts = [0, 1, 4095, 4096, 100_000, 1 << 20, 5 << 20, len - 100, len - 1];
    let readers: Vec<_> = starts
        .into_iter()
        .flat_map(|start| [start..len, start..start + 100])
        .map(|range| {
            let (mut wanted, end) = (object.want(range.clone()), range.end.min(len));
            thread::spawn(move || assert_eq!(read(&mut wanted).unwrap(), content(range.start..end)))
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert!(object.is_whole());
    drop(object);
    let (requests, bytes) = origin.join().unwrap();
    assert!(bytes < len * 2, "{bytes} bytes in {requests} requests");
    assert!(requests < 40, "{bytes} bytes in {requests} requests");
}

#[test]
fn a_reader_of_what_is_cut_has_what_is_there_and_then_the_reason() {
    let object = object(100_000, |mut fill: Fill| {
        fill.take(&content(0..1000)).unwrap();
        fill.object().cut(ObjectError::Replaced);
    });
    let mut wanted = object.want(0..100_000);
    assert!(matches!(read(&mut wanted), Err(ObjectError::Replaced)));
    assert_eq!(wanted.range().start, 1000);
    assert_eq!(object.available(0), 1000);
}

#[test]
fn who_waits_for_a_fill_that_ends_early_asks_anew() {
    let (asked, fills) = mpsc::channel();
    let object = object(100_000, move |fill| asked.send(fill).unwrap());
    let mut wanted = object.want(0..100_000);
    let reader = thread::spawn(move || read(&mut wanted).unwrap());
    let mut first = fills.recv().unwrap();
    first.take(&content(0..10_000)).unwrap();
    drop(first);
    let second = fills.recv().unwrap();
    assert_eq!(second.range(), 10_000..100_000);
    give(second, 1000);
    assert_eq!(reader.join().unwrap(), content(0..100_000));
}

#[test]
fn a_reader_that_leaves_leaves_no_place_behind() {
    let (asked, fills) = mpsc::channel();
    let object = object(100_000, move |fill| asked.send(fill).unwrap());
    for _ in 0..3 {
        let mut wanted = object.want(0..100);
        assert!(wanted.poll(&Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(object.state().waiting.take(|_| true).len(), 0);
    assert_eq!(fills.try_iter().count(), 1);
}

#[test]
fn a_fill_that_begins_in_the_midst_of_what_another_got_has_those_bytes_for_both() {
    let object = object(300_000, drop);
    let mut behind = object.begin(0..300_000);
    assert_eq!(behind.next().unwrap(), Step::Take(300_000));
    let mut ahead = object.begin(50_000..200_000);
    ahead.take(&content(50_000..100_000)).unwrap();
    behind.take(&content(0..300_000)).unwrap();
    ahead.take(&content(100_000..150_000)).unwrap();
    assert!(object.is_whole());
    let mut all = vec![0; 300_000];
    rustix::io::pread(object.file(), &mut all, 0).unwrap();
    assert_eq!(all, content(0..300_000));
    for piece in object.kept().pieces() {
        assert_eq!(piece.crc32c, crc32c::crc32c(&content(piece.start..piece.end())));
    }
}

#[test]
fn what_came_before_a_restart_is_not_proved_while_it_is_written() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(0..60_000), 0).unwrap();
    let object = found_again(file, 20_000..60_000, drop);
    let had = object.state().unproved.pieces()[0];
    let fill = object.begin(0..60_000);
    let filling = object.state().fills[0];
    assert_eq!(object.begin_writing(&filling, 0..40_000), vec![0..40_000; 1]);
    assert_eq!(object.kept().pieces(), [had]);
    object.proved(had);
    let came = Piece { start: 0, len: 40_000, crc32c: crc32c::crc32c(&content(0..40_000)) };
    object.publish(&[came], Some(filling));
    assert_eq!(object.available(0), 40_000);
    assert_eq!(object.kept().pieces(), [came], "what is in both is there");
    object.proved(had);
    assert_eq!(object.available(0), 40_000, "a part of it had come");
    drop(fill);
}

#[test]
fn what_came_before_a_restart_is_used_where_its_checksum_says_so() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(400_000).unwrap();
    let came = content(0..400_000);
    file.write_all_at(&came[10_000..300_000], 10_000).unwrap();
    // A cell whose bytes never reached the disk.
    file.write_all_at(&[0; 1], 150_000).unwrap();
    let (asked, fills) = mpsc::channel();
    let object = found_again(file, 10_000..300_000, move |fill| asked.send(fill).unwrap());
    assert_eq!(object.available(10_000), 10_000, "it is not believed");
    let mut wanted = object.want(20_000..400_000);
    let reader = thread::spawn(move || read(&mut wanted).unwrap());
    let origin = thread::spawn(move || {
        let mut taken = Vec::new();
        for mut fill in fills {
            loop {
                let start = fill.range().start;
                match fill.next().unwrap() {
                    Step::Take(room) => {
                        taken.push(start..start + room);
                        fill.take(&content(start..start + room)).unwrap();
                    }
                    Step::Skip(n) => fill.skip(n),
                    Step::End => break,
                }
            }
        }
        taken
    });
    assert_eq!(reader.join().unwrap(), came[20_000..]);
    assert_eq!(object.available(10_000), 400_000);
    drop(object);
    assert_eq!(origin.join().unwrap(), [131_072..196_608, 300_000..400_000]);
}
