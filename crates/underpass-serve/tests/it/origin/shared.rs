//! What is kept for all is not of what one client says, and not of two answers.

use underpass_testkit::origin::{Fault, Framing, Object};

use super::place::Place;

#[test]
fn what_is_kept_when_it_ended_was_not_asked_for_with_fields_of_a_client() {
    let place = Place::new();
    let object = Object::new(600_000).cache_control("max-age=600").framed(Framing::Chunked);
    place.put("/a", object);
    let fields = ["X-Forwarded-Host: evil", "Accept-Encoding: gzip", "Accept-Language: fr"];
    assert_eq!(place.get_with("/a", &fields).status, 200);
    let requests = place.origin.requests();
    for name in ["x-forwarded-host", "accept-language"] {
        assert!(requests.iter().all(|request| request.field(name).is_none()), "{requests:?}");
    }
    let coding = |wanted| requests.iter().all(|it| it.field("accept-encoding") != Some(wanted));
    assert!(coding("gzip"), "{requests:?}");
}

#[test]
fn a_part_of_what_has_no_strong_tag_is_asked_for_as_a_whole() {
    let place = Place::new();
    let object = Object::new(600_000).cache_control("max-age=600").etag(Some("W/\"x\""));
    let object = place.put("/a", object);
    for _ in 0..2 {
        let got = place.get_with("/a", &["Range: bytes=100-199"]);
        assert_eq!((got.status, got.content.len()), (200, 600_000));
        assert_eq!(object.difference(0, &got.content), None);
    }
    let head = place.ask("HEAD", "/b", &[]);
    assert_eq!(head.status, 404);
    let object = place.put("/c", Object::new(600_000).etag(Some("W/\"x\"")));
    assert_eq!(place.ask("HEAD", "/c", &[]).field("content-length"), "600000");
    let got = place.get("/c");
    assert_eq!((got.content.len(), object.difference(0, &got.content)), (600_000, None));
}

#[test]
fn what_becomes_private_by_a_304_is_kept_no_more() {
    let place = Place::new();
    let object = place.put("/a", Object::new(600_000).cache_control("no-cache"));
    assert_eq!(place.get("/a").status, 200);
    let private = || Fault::Field("Cache-Control".into(), "private, max-age=600".into());
    place.origin.fault(1, private());
    place.origin.fault(2, private());
    let got = place.get("/a");
    assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    // The 304 is not believed, and what is asked for anew is for this client.
    assert!(place.asked() >= 3);
    let got = place.get("/a");
    assert!(got.cache().contains("detail=private"), "{got:?}");
}

#[test]
fn a_redirect_within_the_origin_names_no_other_host() {
    let place = Place::new();
    let to = format!("{}//evil.example/", place.origin.url(""));
    place.origin.fault(0, Fault::Status(302));
    place.origin.fault(0, Fault::Field("Location".into(), to));
    let got = place.get("//evil.example");
    assert_eq!((got.status, got.field("location")), (307, "/evil.example/"));
}
