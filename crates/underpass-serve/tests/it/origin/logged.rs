//! What the log tells of requests for what an origin has.

use std::io::{Read, Write};
use std::time::Duration;

use underpass_testkit::origin::Object;

use super::place::Place;

/// The value of a key of a line.
fn value<'l>(line: &'l str, key: &str) -> &'l str {
    let (_, rest) = line.split_once(&format!("\"{key}\":")).unwrap();
    rest.split([',', '}']).next().unwrap().trim_matches('"')
}

#[test]
fn a_line_says_how_a_request_was_answered_and_what_it_waited_for() {
    let place = Place::new();
    place.put("/a", Object::new(300_000).cache_control("max-age=600"));
    place.put("/b", Object::new(300_000).cache_control("private"));
    place.put("/c", Object::new(1_000).cache_control("max-age=0"));
    place.origin.delay(Duration::from_millis(300));
    let asked = [("/a", "miss"), ("/b", "relayed"), ("/c", "miss"), ("/c", "revalidated")];
    for (path, _) in asked {
        place.get(path);
    }
    let lines = place.log(asked.len());
    for (line, (path, result)) in lines.iter().zip(asked) {
        assert_eq!((value(line, "target"), value(line, "cache")), (path, result), "{line}");
        let [origin, waited] = ["origin_ms", "waited_ms"].map(|key| value(line, key));
        let [origin, waited] = [origin, waited].map(|ms| ms.parse::<f64>().unwrap());
        let took: f64 = value(line, "ms").parse().unwrap();
        // What is passed on was asked for twice: to learn that it is, and for this client.
        let least = if path == "/b" { 600.0 } else { 300.0 };
        assert!(origin >= 300.0 && waited >= least, "{line}");
        assert!(took >= waited, "{line}");
    }
    let hits: [&[&str]; 3] = [&[], &[], &["Range: bytes=0-9"]];
    for fields in hits {
        assert_eq!(place.get_with("/a", fields).cache(), "hit");
    }
    // Of those that follow one another on a connection hyper sees none.
    let mut peer = place.server.connect();
    for _ in 0..5 {
        peer.write_all(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let (mut bytes, mut got) = (vec![0; 400_000], 0);
        while got < 300_000 {
            got += peer.read(&mut bytes[got..]).unwrap();
        }
        peer.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        while peer.read(&mut bytes).is_ok_and(|n| n > 0) {}
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    drop(peer);
    for line in &place.log(asked.len() + 8)[asked.len()..] {
        let all = ["cache", "origin_ms", "waited_ms"].map(|key| value(line, key));
        assert_eq!(all, ["hit", "null", "null"], "{line}");
    }
}
