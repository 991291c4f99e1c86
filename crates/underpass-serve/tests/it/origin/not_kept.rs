//! What is for one client: the origin is asked for each, with its fields.

use std::io::{Read, Write};
use std::time::Duration;

use underpass_testkit::origin::{Framing, Object};
use underpass_testkit::wait;

use super::place::Place;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn what_is_for_one_is_asked_for_by_each() {
    for (name, value, why) in [
        ("Cache-Control", "private, max-age=60", "private"),
        ("Cache-Control", "no-store", "no-store"),
        ("Set-Cookie", "a=b", "set-cookie"),
        ("Vary", "Cookie", "vary"),
    ] {
        let place = Place::new();
        let object = place.put("/a", Object::new(600_000).field(name, value));
        for number in 1..=2 {
            let got = place.get("/a");
            assert_eq!((got.status, object.difference(0, &got.content)), (200, None), "{why}");
            assert_eq!(got.content.len(), 600_000);
            assert_eq!(got.cache(), format!("fwd=uri-miss; detail={why}"));
            assert_eq!(got.field(name), value);
            assert!(place.asked() >= number, "{why}");
        }
        let fields = ["Cookie: c=d", "Range: bytes=7-9", "Connection: X-Hop", "X-Hop: a"];
        let got = place.get_with("/a", &fields);
        assert_eq!((got.status, got.field("content-range")), (206, "bytes 7-9/600000"));
        assert_eq!(object.difference(7, &got.content), None);
        let requests = place.origin.requests();
        let last = requests.last().unwrap();
        assert_eq!((last.field("cookie"), last.field("x-hop")), (Some("c=d"), None));
        assert_eq!(requests[0].field("cookie"), None);
    }
}

#[test]
fn what_the_origin_says_of_its_connection_is_not_passed_on() {
    for says in ["private", "max-age=600"] {
        let place = Place::new();
        let object = Object::new(600_000).cache_control(says).field("Connection", "X-Hop");
        place.put("/a", object.field("X-Hop", "a").field("Keep-Alive", "timeout=5"));
        for _ in 0..2 {
            let got = place.get("/a");
            assert_eq!((got.status, got.field("x-hop"), got.field("keep-alive")), (200, "", ""));
        }
    }
}

#[test]
fn what_is_small_and_for_one_takes_one_request() {
    let place = Place::new();
    let object = place.put("/a", Object::new(1_000).cache_control("private"));
    let got = place.get("/a");
    assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    assert_eq!((got.content.len(), place.asked()), (1_000, 1));
}

#[test]
fn who_says_who_it_is_is_not_answered_of_what_is_kept() {
    let place = Place::new();
    place.put("/a", Object::new(100).cache_control("max-age=600"));
    place.get("/a");
    let got = place.get_with("/a", &["Authorization: Basic eDp5"]);
    assert_eq!((got.status, got.cache()), (200, "fwd=bypass; detail=authorization"));
    let requests = place.origin.requests();
    assert_eq!(requests[1].field("authorization"), Some("Basic eDp5"));
    assert_eq!(place.get("/a").cache(), "hit");
}

#[test]
fn content_of_unknown_length_comes_whole() {
    for framing in [Framing::Chunked, Framing::UntilClose] {
        let place = Place::new();
        let object =
            place.put("/a", Object::new(700_000).framed(framing).cache_control("max-age=600"));
        let got = place.get("/a");
        assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
        assert_eq!(got.content.len(), 700_000);
        if framing == Framing::Chunked {
            // It tells its end, so it is kept.
            let hit = || (place.get("/a").cache() == "hit").then_some(());
            assert_eq!(wait::until(PATIENCE, hit), Some(()));
        }
    }
}

#[test]
fn other_methods_are_refused() {
    let place = Place::new();
    for method in ["POST", "PUT", "DELETE"] {
        let got = place.ask(method, "/a", &["Content-Length: 0"]);
        assert_eq!((got.status, got.field("allow")), (405, "GET, HEAD, OPTIONS"), "{method}");
    }
    assert_eq!(place.asked(), 0);
}

#[test]
fn clients_who_take_nothing_are_in_no_ones_way() {
    let place = Place::with(|options| underpass_serve::OriginOptions { relays_max: 2, ..options });
    let object = Object::new(30_000_000).cache_control("private");
    let object = place.put("/a", object);
    let slow = [(); 2].map(|()| {
        let mut peer = place.server.connect();
        peer.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut first = [0; 12];
        peer.read_exact(&mut first).unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        peer
    });
    let got = place.get("/a");
    assert_eq!((got.status, object.difference(0, &got.content)), (200, None));
    assert_eq!(got.content.len(), 30_000_000);
    // One of them made room: it is cut, and the other has all of it.
    let mut whole = slow.map(|mut peer| {
        let (mut bytes, mut all) = (vec![0; 1 << 20], 0);
        loop {
            match peer.read(&mut bytes) {
                Ok(0) | Err(_) => return false,
                Ok(n) => all += n,
            }
            if all > 30_000_000 {
                return true;
            }
        }
    });
    whole.sort_unstable();
    assert_eq!(whole, [false, true]);
}
