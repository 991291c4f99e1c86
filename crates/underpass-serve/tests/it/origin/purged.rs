//! What is removed by name.

use underpass_testkit::origin::Object;

use super::place::Place;

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
