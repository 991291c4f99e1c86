//! What is removed by name.

use std::time::Duration;

use underpass_testkit::origin::{Fault, Framing, Object, Stop};
use underpass_testkit::wait;

use super::place::{Got, Place};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_is_purged_is_asked_for_anew() {
    let place = Place::new();
    place.put("/a", Object::new(1_000).cache_control("max-age=600"));
    place.get("/a");
    let new = place.put("/a", Object::new(900).cache_control("max-age=600"));
    assert_eq!(place.get("/a").content.len(), 1_000, "it is fresh");
    assert_eq!(place.ask("PURGE", "/a", &[]).status, 200);
    assert_eq!(place.ask("PURGE", "/a", &[]).status, 404);
    let got = place.get("/a");
    assert_eq!((got.content.len(), new.difference(0, &got.content)), (900, None));
}

#[test]
fn others_purge_nothing() {
    let place = Place::with(|options| underpass_serve::OriginOptions {
        purge_from: vec!["192.0.2.0/24".parse().unwrap()],
        ..options
    });
    place.put("/a", Object::new(1_000).cache_control("max-age=600"));
    place.get("/a");
    assert_eq!(place.ask("PURGE", "/a", &[]).status, 403);
    assert_eq!(place.get("/a").cache(), "hit");
}

/// A request that stalls at the origin while its path is purged, and then continues.
fn purged_meanwhile(place: &Place, path: &str, number: usize, meanwhile: impl FnOnce()) -> Got {
    place.origin.fault(number, Fault::Field("X-Of".into(), "before".into()));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| place.get(path));
        let stalls = || (place.origin.stalled() == 1).then_some(());
        assert_eq!(wait::until(PATIENCE, stalls), Some(()));
        place.ask("PURGE", path, &[]);
        meanwhile();
        place.origin.release();
        asked.join().unwrap()
    })
}

#[test]
fn what_was_asked_for_before_a_purge_is_not_kept_after_it() {
    let place = Place::new();
    place.put("/a", Object::new(300_000).cache_control("max-age=600"));
    place.origin.fault(0, Fault::Stall);
    let got = purged_meanwhile(&place, "/a", 0, || {
        let other = place.get("/a");
        assert_eq!((other.status, other.field("x-of")), (200, ""), "it waits for no other");
    });
    assert_eq!((got.status, got.field("x-of")), (200, ""), "{got:?}");
    let after = place.get("/a");
    assert_eq!((after.cache(), after.field("x-of")), ("hit", ""));
    assert_eq!(place.asked(), 2);
}

#[test]
fn that_there_is_nothing_is_not_known_of_before_a_purge() {
    let place = Place::new();
    for fault in [Fault::Stall, Fault::Status(404)] {
        place.origin.fault(0, fault);
    }
    let got = purged_meanwhile(&place, "/a", 0, || {
        place.put("/a", Object::new(1_000).cache_control("max-age=600"));
    });
    assert_eq!((got.status, place.get("/a").cache()), (200, "hit"));
}

#[test]
fn content_of_unknown_length_is_not_kept_from_before_a_purge() {
    let place = Place::new();
    let object = Object::new(700_000).framed(Framing::Chunked).cache_control("max-age=600");
    let object = place.put("/a", object);
    // The first finds out that it has no length, and the next collects it.
    place.origin.fault(1, Fault::At(600_000, Stop::Stall));
    let got = purged_meanwhile(&place, "/a", 1, || {});
    assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    let after = place.get("/a");
    assert_eq!((after.status, after.field("x-of")), (200, ""), "{after:?}");
    assert_ne!(after.cache(), "hit");
}

#[test]
fn a_purge_is_for_all_spellings_of_a_path_at_once() {
    let place = Place::new();
    place.put("/%C3%A4", Object::new(1_000).cache_control("max-age=600"));
    for _ in 0..20 {
        let hit = || (place.get("/%c3%a4").cache() == "hit").then_some(());
        assert_eq!(wait::until(PATIENCE, hit), Some(()));
        for _ in 0..4 {
            place.get("/%c3%a4");
        }
        assert_eq!(place.ask("PURGE", "/%C3%A4", &[]).status, 200);
        assert_ne!(place.get("/%c3%a4").cache(), "hit");
    }
}
