//! What is kept, and for how long nothing is asked.

use std::time::Duration;

use underpass_testkit::origin::{Fault, Object};
use underpass_testkit::wait;

use super::place::Place;

const FRESH: &str = "max-age=600";

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_origin_is_asked_once_for_what_is_fresh() {
    let place = Place::new();
    let object = place.put("/a?b", Object::new(300_000).cache_control(FRESH).field("X-Of", "it"));
    let miss = place.get("/a?b");
    assert_eq!((miss.status, miss.cache()), (200, "fwd=uri-miss; fwd-status=200; stored"));
    assert_eq!(object.difference(0, &miss.content), None);
    assert_eq!((miss.content.len(), miss.field("x-of")), (300_000, "it"));
    for _ in 0..3 {
        let hit = place.get("/a?b");
        assert_eq!((hit.status, hit.cache(), hit.field("x-of")), (200, "hit", "it"));
        assert_eq!(hit.content, miss.content);
        assert!(hit.field("age").parse::<u64>().is_ok(), "{hit:?}");
    }
    let head = place.ask("HEAD", "/a?b", &[]);
    assert_eq!((head.status, head.field("content-length")), (200, "300000"));
    assert_eq!(place.asked(), 1);
    assert_eq!(place.get("/a").status, 404, "the query is part of the key");
}

#[test]
fn ranges_and_conditions_are_answered_of_what_is_kept() {
    let place = Place::new();
    let object = place.put("/a", Object::new(100_000).cache_control(FRESH));
    let tag = object.tag().unwrap();
    place.get("/a");
    let part = place.get_with("/a", &["Range: bytes=10-19"]);
    assert_eq!((part.status, part.field("content-range")), (206, "bytes 10-19/100000"));
    assert_eq!(object.difference(10, &part.content), None);
    let same = place.get_with("/a", &[&format!("If-None-Match: {tag}")]);
    assert_eq!((same.status, same.cache()), (304, "hit"));
    let past = place.get_with("/a", &["Range: bytes=100000-"]);
    assert_eq!((past.status, past.field("content-range")), (416, "bytes */100000"));
    assert_eq!(place.asked(), 1);
}

#[test]
fn of_what_is_not_here_only_the_range_is_asked_for() {
    for (range, first, content_range) in [
        ("bytes=5000-5999", 5_000, "bytes 5000-5999/9000000"),
        ("bytes=-1000", 8_999_000, "bytes 8999000-8999999/9000000"),
    ] {
        let place = Place::new();
        let object = place.put("/a", Object::new(9_000_000).cache_control(FRESH));
        let part = place.get_with("/a", &[&format!("Range: {range}")]);
        assert_eq!((part.status, part.field("content-range")), (206, content_range));
        assert_eq!(part.cache(), "fwd=uri-miss; fwd-status=206; stored");
        assert_eq!((part.content.len(), object.difference(first, &part.content)), (1_000, None));
        let requests = place.origin.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].field("range"), Some(range));
        assert_eq!(place.origin.content_bytes(), 1_000);
        let whole = place.get("/a");
        assert_eq!((whole.status, object.difference(0, &whole.content)), (200, None));
        assert_eq!(whole.content.len(), 9_000_000);
    }
}

#[test]
fn a_range_past_the_end_and_an_origin_without_ranges_are_answered_as_of_a_file() {
    let place = Place::new();
    place.put("/a", Object::new(100).cache_control(FRESH));
    let past = place.get_with("/a", &["Range: bytes=100-"]);
    assert_eq!((past.status, past.field("content-range")), (416, "bytes */100"));
    let object = place.put("/b", Object::new(100_000).cache_control(FRESH).without_ranges());
    let part = place.get_with("/b", &["Range: bytes=70000-70009"]);
    assert_eq!((part.status, object.difference(70_000, &part.content)), (206, None));
    assert_eq!(place.get("/b").content.len(), 100_000);
}

#[test]
fn a_head_asks_for_no_content_and_leaves_what_a_get_fills() {
    let place = Place::new();
    let object = place.put("/a", Object::new(50_000).cache_control(FRESH));
    let head = place.ask("HEAD", "/a", &[]);
    assert_eq!((head.status, head.field("content-length")), (200, "50000"));
    assert_eq!((place.origin.content_bytes(), head.content.len()), (0, 0));
    let whole = place.get("/a");
    assert_eq!((whole.content.len(), object.difference(0, &whole.content)), (50_000, None));
}

#[test]
fn what_a_client_says_of_its_own_cache_does_not_reach_the_origin() {
    let place = Place::new();
    place.put("/a", Object::new(100).cache_control(FRESH));
    place.get("/a");
    for field in ["Cache-Control: no-cache", "Pragma: no-cache", "Cache-Control: max-age=0"] {
        assert_eq!(place.get_with("/a", &[field]).cache(), "hit", "{field}");
    }
    assert_eq!(place.asked(), 1);
    let only = ["Cache-Control: only-if-cached"];
    assert_eq!(place.get_with("/a", &only).status, 200);
    assert_eq!(place.get_with("/b", &only).status, 504);
    assert_eq!(place.asked(), 1);
}

#[test]
fn a_path_that_leads_to_another_is_told_to_the_client() {
    let place = Place::new();
    place.put("/a", Object::new(0).status(301).field("Location", "/a/?x"));
    place.put("/a/?x", Object::new(100).cache_control(FRESH));
    let moved = place.get("/a");
    assert_eq!((moved.status, moved.field("location")), (307, "/a/?x"));
    assert_eq!(place.get("/a/?x").status, 200);
}

#[test]
fn all_who_wait_for_the_head_are_answered_by_one_request() {
    let place = Place::new();
    let object = place.put("/a", Object::new(300_000).cache_control(FRESH));
    place.origin.delay(Duration::from_millis(500));
    let all: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| place.get("/a"))).collect();
        asking.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for got in &all {
        assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
        assert_eq!(got.content.len(), 300_000);
    }
    assert!(all.iter().any(|got| got.cache().ends_with("; collapsed")), "{:?}", all[0].cache());
    assert_eq!(place.asked(), 1);
}

#[test]
fn what_a_get_says_counts_also_after_a_head() {
    let place = Place::new();
    place.put("/a", Object::new(500_000).cache_control(FRESH));
    place.origin.script(|request| match request.method.as_str() {
        "GET" => vec![Fault::Field("Set-Cookie".into(), "a=b".into())],
        _ => vec![],
    });
    assert_eq!(place.ask("HEAD", "/a", &[]).status, 200);
    assert_eq!(place.ask("HEAD", "/a", &[]).cache(), "hit");
    let past = place.get_with("/a", &["Range: bytes=500000-"]);
    assert_eq!((past.status, past.cache()), (416, "hit"), "the length is known");
    for _ in 0..2 {
        let got = place.get("/a");
        assert_eq!((got.status, got.cache()), (200, "fwd=uri-miss; detail=set-cookie"));
    }
}

#[test]
fn who_waits_for_the_answer_to_a_head_gets_that_to_a_get() {
    let place = Place::new();
    let object = place.put("/a", Object::new(500_000).cache_control(FRESH));
    place.origin.fault(0, Fault::Stall);
    std::thread::scope(|scope| {
        let head = scope.spawn(|| place.ask("HEAD", "/a", &[]));
        let stalls = || (place.origin.stalled() == 1).then_some(());
        assert_eq!(wait::until(PATIENCE, stalls), Some(()));
        let get = scope.spawn(|| place.get("/a"));
        place.origin.release();
        assert_eq!(head.join().unwrap().status, 200);
        let got = get.join().unwrap();
        assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    });
    let asked = place.origin.requests();
    let methods: Vec<_> = asked.iter().map(|request| request.method.as_str()).collect();
    assert_eq!(methods, ["HEAD", "GET"]);
    assert_eq!(asked[1].field("if-match"), None, "its own answer counts");
}

#[test]
fn how_long_the_origin_took_counts_as_age() {
    let place = Place::new();
    place.put("/a", Object::new(1_000).cache_control("max-age=1"));
    place.origin.delay(Duration::from_millis(1_100));
    let got = place.get("/a");
    assert!(got.field("age").parse::<u64>().unwrap() >= 1, "{got:?}");
    assert_eq!(place.get("/a").cache(), "fwd=stale; fwd-status=304");
}
