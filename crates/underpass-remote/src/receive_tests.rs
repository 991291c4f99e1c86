//! Answers that break off, change, or fail, and those who wait for them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use underpass_testkit::origin::{Fault, Object as Content, Stop};

use super::*;
use crate::object::Wanted;
use crate::rig::{LEN, Rig, read, until};

#[test]
fn what_breaks_off_is_asked_for_from_there_on() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Reset));
    rig.server.fault(1, Fault::At(500_000, Stop::Cut));
    rig.server.fault(2, Fault::Status(503));
    let (_, object) = rig.ask_and_open("/a");
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    let requests = rig.server.requests();
    assert_eq!(requests.len(), 4);
    let tag = content.tag();
    assert!(requests[1..].iter().all(|it| it.field("if-match") == tag.as_deref()));
    assert!(rig.server.content_bytes() < LEN + 1_000_000);
}

#[test]
fn a_server_without_ranges_sends_all_again_and_the_rest_of_it_is_taken() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Cut));
    rig.server.fault(1, Fault::IgnoreRange);
    let (_, object) = rig.ask_and_open("/a");
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    assert_eq!(rig.server.request_count(), 2);
}

#[test]
fn who_is_ahead_of_an_answer_that_stalls_is_given_another() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let (_, object) = rig.ask_and_open("/a");
    until(|| object.available(0) == 1_000_000);
    // So near that it waits while the other comes.
    let got = read(&object, 1_200_000..1_300_000).unwrap();
    assert_eq!(content.difference(1_200_000, &got), None);
    assert_eq!((rig.server.stalled(), object.available(0)), (1, 1_000_000));
    assert!(rig.server.request_count() > 1);
    rig.server.release();
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
}

#[test]
fn the_same_tag_with_another_length_is_not_the_same() {
    let rig = Rig::new();
    rig.server.put("/a", Content::new(LEN).etag(Some("\"x\"")));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Cut));
    let range = format!("bytes 1000000-{}/{}", LEN - 1, LEN + 1);
    rig.server.fault(1, Fault::ContentRange(range));
    let (_, object) = rig.ask_and_open("/a");
    assert!(matches!(read(&object, 0..LEN), Err(ObjectError::Replaced)));
    assert_eq!(object.available(0), 1_000_000);
}

#[test]
fn what_is_replaced_at_the_origin_is_cut_and_never_mixed() {
    // A server that keeps to If-Match; one that does not and sends all; one that sends a range.
    for faults in
        [&[][..], &[Fault::IgnoreConditions, Fault::IgnoreRange], &[Fault::IgnoreConditions]]
    {
        let rig = Rig::new();
        let old = rig.server.put("/a", Content::new(LEN));
        rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
        let entry = rig.ask("/a");
        until(|| rig.server.stalled() == 1);
        rig.server.put("/a", Content::new(LEN));
        faults.iter().for_each(|fault| rig.server.fault(1, fault.clone()));
        let object = entry.object(&rig.origin).unwrap();
        until(|| object.available(0) == 1_000_000);
        let reader = thread::spawn(move || (read(&object, 0..1_000_000), read(&object, 0..LEN)));
        rig.server.down();
        rig.server.up().unwrap();
        let (there, all) = reader.join().unwrap();
        assert_eq!(old.difference(0, &there.unwrap()), None);
        assert!(matches!(all, Err(ObjectError::Replaced)), "{faults:?}: {all:?}");
        assert!(rig.store.get(&rig.key("/a")).is_none());
    }
}

#[test]
fn without_a_tag_there_is_one_answer_and_what_breaks_off_is_gone() {
    for tag in [None, Some("W/\"x\"")] {
        let rig = Rig::new();
        rig.server.put("/a", Content::new(LEN).etag(tag));
        rig.server.fault(0, Fault::At(1_000_000, Stop::Reset));
        let (_, object) = rig.ask_and_open("/a");
        // Far from what comes: there are no other requests for it.
        assert!(read(&object, LEN - 100..LEN).is_err());
        until(|| rig.store.get(&rig.key("/a")).is_none());
        assert_eq!(rig.server.request_count(), 1);
        let again = rig.ask("/a");
        assert_eq!(rig.read(&again, 0..LEN).unwrap().len(), usize::try_from(LEN).unwrap());
    }
}

#[test]
fn an_origin_that_fails_fails_those_who_wait_and_who_comes_later_asks_again() {
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Cut));
    (1..4).for_each(|number| rig.server.fault(number, Fault::Status(500)));
    let entry = rig.ask("/a");
    assert!(matches!(rig.read(&entry, 0..LEN), Err(ObjectError::Refused { status: 500 })));
    assert_eq!(rig.server.request_count(), 4);
    assert_eq!(content.difference(0, &rig.read(&entry, 0..LEN).unwrap()), None);
    let requests = rig.server.requests();
    assert_eq!((requests.len(), requests[4].field("range")), (5, Some("bytes=1000000-")));
}

#[test]
fn a_thousand_who_wait_cost_no_time_of_the_processor() {
    let rig = Rig::new();
    rig.server.put("/a", Content::new(LEN));
    rig.server.fault(0, Fault::At(1_000_000, Stop::Stall));
    let entry = rig.ask("/a");
    let object = entry.object(&rig.origin).unwrap();
    until(|| object.available(0) == 1_000_000);
    let mut waiting: Vec<_> = (0..1000).map(|n| object.want(1_000_000 + n..LEN)).collect();
    let woken = Arc::new(Counts(AtomicU64::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut pending = |wanted: &mut Wanted| wanted.poll(&Context::from_waker(&waker)).is_pending();
    assert!(waiting.iter_mut().all(&mut pending));
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    assert_eq!(rig.server.request_count(), 1);
    rig.server.release();
    until(|| woken.0.load(Ordering::Relaxed) >= 1000);
    until(|| object.is_whole());
    // Each once: who was woken waits no more.
    assert!(woken.0.load(Ordering::Relaxed) <= 1000);
    assert!(waiting.iter_mut().all(|wanted| !pending(wanted)));
}

struct Counts(AtomicU64);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn without_a_tag_bytes_of_two_answers_are_in_no_file() {
    let weak = || Content::new(LEN).etag(Some("W/\"x\""));
    // A first answer of a range, and one that the end of the program ends.
    let rig = Rig::new();
    rig.server.put("/a", weak());
    let first = Range::From { first: 0, last: Some(99_999) };
    let (entry, object) = rig.ask_for("/a", first);
    assert!(matches!(read(&object, 0..LEN), Err(ObjectError::Left)));
    assert!(entry.is_removed());
    rig.server.put("/b", weak());
    rig.server.fault(1, Fault::At(1_000_000, Stop::Stall));
    let (entry, object) = rig.ask_and_open("/b");
    until(|| object.available(0) == 1_000_000);
    drop((entry, object));
    let rig = rig.again();
    assert_eq!((rig.store.facts().entries, rig.server.request_count()), (0, 2));
    // Another one of the same length between the head and the content.
    rig.server.put("/c", weak());
    let head = rig.head("/c");
    let (entry, fill) = rig.store.insert(&rig.key("/c"), &rig.origin, head, 0..0).unwrap();
    drop(fill);
    rig.server.put("/c", Content::new(LEN).etag(Some("W/\"y\"")));
    assert!(matches!(rig.read(&entry, 0..LEN), Err(ObjectError::Replaced)));
}

#[test]
fn a_large_object_without_readers_is_left_and_continued_when_somebody_reads_it() {
    const LARGE: u64 = 40 << 20;
    let rig = Rig::new();
    let content = rig.server.put("/a", Content::new(LARGE));
    rig.server.limit(Some(2 << 20));
    let (entry, object) = rig.ask_and_open("/a");
    until(|| !entry.is_filling());
    assert!(rig.server.content_bytes() < LARGE / 2);
    rig.server.limit(None);
    assert_eq!(content.difference(0, &read(&object, 0..LARGE).unwrap()), None);
    assert!(rig.server.content_bytes() < LARGE + (8 << 20));
}
