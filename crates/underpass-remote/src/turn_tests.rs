//! Small objects while large ones have all threads that such may have, and those that have none.

use std::sync::Arc;
use std::thread;

use underpass_testkit::origin::{Fault, Object as Content, Stop};

use crate::error::ObjectError;
use crate::rig::{LEN, Rig, read, until};

type Both = (Arc<Content>, Arc<crate::Object>);

/// Two objects are on their way, which are as many as may be, and stall.
fn busy() -> (Rig, Vec<Both>) {
    let rig = Rig::with(|options| options.fills_max = 2);
    let mut objects = Vec::new();
    for (number, path) in ["/a", "/b"].into_iter().enumerate() {
        let content = rig.server.put(path, Content::new(LEN));
        rig.server.fault(number, Fault::At(1_000_000, Stop::Stall));
        objects.push((content, rig.ask_and_open(path).1));
        until(|| rig.server.stalled() == number + 1);
    }
    (rig, objects)
}

#[test]
fn heads_and_small_objects_do_not_wait_for_large_ones() {
    let (rig, mut objects) = busy();
    // More than there are threads for.
    for number in 0..40 {
        let path = format!("/large{number}");
        let content = rig.server.put(&path, Content::new(LEN));
        objects.push((content, rig.ask_and_open(&path).1));
    }
    until(|| rig.store.facts().queued == 40);
    for number in 0..40 {
        let path = format!("/small{number}");
        let content = rig.server.put(&path, Content::new(100_000));
        let (_, object) = rig.ask_and_open(&path);
        assert_eq!(content.difference(0, &read(&object, 0..100_000).unwrap()), None);
    }
    // And the end of a large one.
    let (content, object) = &objects[30];
    let last = read(object, LEN - 100..LEN).unwrap();
    assert_eq!(content.difference(LEN - 100, &last), None);
    assert!(rig.store.facts().threads <= 34);
    rig.server.release();
    for (content, object) in &objects {
        assert_eq!(content.difference(0, &read(object, 0..LEN).unwrap()), None);
    }
    let asked = |path: &str| rig.server.requests().iter().filter(|it| it.target == path).count();
    assert!((0..40).all(|number| asked(&format!("/small{number}")) == 1));
    assert!(rig.store.facts().received_bytes >= 42 * LEN + 40 * 100_000);
    assert!(asked("/large0") >= 2, "its first answer was dropped");
}

#[test]
fn one_that_cannot_be_resumed_waits_as_long_as_nothing_of_it_came() {
    let (rig, _objects) = busy();
    let content = rig.server.put("/c", Content::new(LEN).etag(None));
    let (entry, object) = rig.ask_and_open("/c");
    until(|| rig.store.facts().queued == 1);
    rig.server.release();
    assert_eq!(content.difference(0, &read(&object, 0..LEN).unwrap()), None);
    until(|| entry.is_whole());
}

#[test]
fn one_that_drips_gives_its_thread_back() {
    let (rig, objects) = busy();
    let small = rig.server.put("/small", Content::new(900_000));
    let untagged = rig.server.put("/untagged", Content::new(900_000).etag(None));
    rig.server.limit(Some(200_000));
    let (_, object) = rig.ask_and_open("/small");
    until(|| rig.store.facts().queued == 1);
    let (entry, lost) = rig.ask_and_open("/untagged");
    let lost = read(&lost, 0..900_000);
    assert!(matches!(lost, Err(ObjectError::Busy)), "{lost:?}");
    assert!(entry.is_removed());
    rig.server.limit(None);
    rig.server.release();
    assert_eq!(small.difference(0, &read(&object, 0..900_000).unwrap()), None);
    let (_, object) = rig.ask_and_open("/untagged");
    assert_eq!(untagged.difference(0, &read(&object, 0..900_000).unwrap()), None);
    drop(objects);
}

#[test]
fn those_that_wait_have_their_turn() {
    let rig = Rig::with(|options| options.fills_max = 1);
    let contents = ["/a", "/b"].map(|path| rig.server.put(path, Content::new(LEN)));
    rig.server.limit(Some(1_000_000));
    let objects = ["/a", "/b"].map(|path| rig.ask_and_open(path).1);
    until(|| objects[1].available(0) > 0);
    assert!(!objects[0].is_whole(), "the first has not ended before the second begins");
    rig.server.limit(None);
    for (content, object) in contents.iter().zip(&objects) {
        assert_eq!(content.difference(0, &read(object, 0..LEN).unwrap()), None);
    }
}

#[test]
fn what_a_fill_holds_is_held_until_its_end_and_no_longer() {
    let (rig, _objects) = busy();
    let content = rig.server.put("/c", Content::new(LEN));
    let held = Arc::new(());
    let (_, object) = rig.ask_holding("/c", Arc::clone(&held));
    until(|| rig.store.facts().queued == 1);
    assert_eq!(Arc::strong_count(&held), 2);
    rig.server.release();
    let reader = thread::spawn(move || read(&object, 0..LEN));
    assert_eq!(content.difference(0, &reader.join().unwrap().unwrap()), None);
    until(|| Arc::strong_count(&held) == 1);
}
