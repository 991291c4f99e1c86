//! What is stale: asked again, served meanwhile, and served while the origin fails.

use std::time::Duration;

use underpass_serve::Defaults;
use underpass_testkit::origin::{Fault, Object};
use underpass_testkit::wait;

use super::place::Place;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_is_stale_is_asked_about_and_stays_if_it_is_so_still() {
    let place = Place::new();
    let object = place.put("/a", Object::new(200_000).cache_control("no-cache"));
    place.get("/a");
    let got = place.get("/a");
    assert_eq!((got.status, got.cache()), (200, "fwd=stale; fwd-status=304"));
    assert_eq!(object.difference(0, &got.content), None);
    let requests = place.origin.requests();
    assert_eq!(requests[1].field("if-none-match"), object.tag().as_deref());
    assert_eq!(place.origin.content_bytes(), 200_000, "once");
}

#[test]
fn what_was_replaced_comes_anew_and_never_mixed() {
    let place = Place::new();
    place.put("/a", Object::new(200_000).cache_control("no-cache"));
    place.get("/a");
    let new = place.put("/a", Object::new(150_000).cache_control("no-cache"));
    let got = place.get("/a");
    assert_eq!((got.status, got.cache()), (200, "fwd=stale; fwd-status=200"));
    assert_eq!((got.content.len(), new.difference(0, &got.content)), (150_000, None));
    place.origin.remove("/a");
    assert_eq!(place.get("/a").status, 404);
}

#[test]
fn a_304_makes_it_fresh_for_as_long_as_it_says() {
    let place = Place::new();
    place.put("/a", Object::new(1_000).cache_control("max-age=0"));
    place.get("/a");
    place.origin.script(|_| vec![Fault::Field("Cache-Control".into(), "s-maxage=600".into())]);
    assert_eq!(place.get("/a").cache(), "fwd=stale; fwd-status=304");
    let asked = place.asked();
    assert_eq!(place.get("/a").cache(), "hit");
    assert_eq!(place.asked(), asked);
}

#[test]
fn while_the_origin_is_asked_what_is_stale_is_served() {
    let place = Place::new();
    let says = "max-age=0, stale-while-revalidate=600";
    place.put("/a", Object::new(1_000).cache_control(says));
    place.get("/a");
    place.origin.delay(Duration::from_secs(1));
    for _ in 0..5 {
        let got = place.get("/a");
        assert!(got.cache().starts_with("hit; ttl=-"), "{got:?}");
    }
    assert_eq!(wait::until(PATIENCE, || (place.asked() >= 2).then_some(())), Some(()));
    assert_eq!(place.asked(), 2, "one request for all of them");
}

#[test]
fn what_is_stale_stands_in_for_an_origin_that_fails_and_then_it_is_a_504() {
    let hour = Duration::from_secs(3600);
    let defaults = Defaults { stale_if_error: hour, ..Defaults::default() };
    let place = Place::with(|options| underpass_serve::OriginOptions { defaults, ..options });
    let object = place.put("/a", Object::new(1_000).cache_control("max-age=0"));
    place.put("/b", Object::new(1_000).cache_control("max-age=0, must-revalidate"));
    assert_eq!([place.get("/a").status, place.get("/b").status], [200; 2]);
    place.origin.down();
    let got = place.get("/a");
    assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    assert!(got.cache().starts_with("hit; ttl=-"), "{got:?}");
    assert_eq!(place.get("/b").status, 504, "it must not be served stale");
    assert_eq!(place.get("/c").status, 504);
    place.origin.up().unwrap();
    assert_eq!(place.get("/b").status, 200);
}

#[test]
fn an_origin_that_is_wrong_is_a_502_and_one_that_refuses_says_so() {
    let place = Place::new();
    place.put("/a", Object::new(1_000));
    place.origin.script(|_| vec![Fault::Status(503)]);
    assert_eq!(place.get("/a").status, 503);
    place.origin.script(|_| vec![Fault::ContentRange("bytes 5-6/7".into())]);
    assert_eq!(place.get_with("/a", &["Range: bytes=0-1"]).status, 502);
}

#[test]
fn that_there_is_nothing_is_known_for_a_while() {
    let short = Duration::from_millis(300);
    let place =
        Place::with(|options| underpass_serve::OriginOptions { negative_for: short, ..options });
    for _ in 0..3 {
        assert_eq!(place.get("/a").status, 404);
    }
    assert!(place.asked() <= 2, "{}", place.asked());
    place.put("/a", Object::new(10));
    let found = wait::until(PATIENCE, || (place.get("/a").status == 200).then_some(()));
    assert_eq!(found, Some(()));
}

#[test]
fn what_is_stale_stands_in_for_a_failure_and_for_no_other_answer() {
    let hour = Duration::from_secs(3600);
    let defaults = Defaults { stale_if_error: hour, ..Defaults::default() };
    let place = Place::with(|options| underpass_serve::OriginOptions { defaults, ..options });
    place.put("/a", Object::new(1_000).cache_control("max-age=0"));
    place.get("/a");
    for (status, given) in
        [(500, 200), (502, 200), (503, 200), (504, 200), (429, 429), (501, 501), (507, 507)]
    {
        place.origin.script(move |_| {
            vec![Fault::Status(status), Fault::Field("Retry-After".into(), "7".into())]
        });
        let got = place.get("/a");
        let retry = if given == 200 { "" } else { "7" };
        assert_eq!((got.status, got.field("retry-after")), (given, retry), "{status}: {got:?}");
    }
    place.origin.heal();
    assert_eq!(place.get("/a").cache(), "fwd=stale; fwd-status=304", "it was kept all the time");
    place
        .origin
        .script(|_| vec![Fault::Status(503), Fault::Field("Retry-After".into(), "7".into())]);
    let got = place.get("/b");
    assert_eq!((got.status, got.field("retry-after")), (503, "7"));
}
