//! Ranges and conditions where an object is on its way: what is there is not waited for.

use std::sync::Arc;

use underpass_testkit::origin::{Fault, Object, Stop};

use super::place::Place;
use crate::http2;

const LEN: u64 = 3_000_000;

/// Up to where it has come, and stands still.
const PART: u64 = 1_000_000;

/// An object of which a part has come. The client who had it fetched has left.
fn standing_still() -> (Place, Arc<Object>) {
    let place = Place::new();
    place.origin.fault(0, Fault::At(PART, Stop::Stall));
    fetched(place, PART)
}

/// One that comes slowly.
fn on_its_way() -> (Place, Arc<Object>) {
    let place = Place::new();
    place.origin.limit(Some(512 << 10));
    fetched(place, 64 << 10)
}

fn fetched(place: Place, part: u64) -> (Place, Arc<Object>) {
    let object = place.put("/a", Object::new(LEN).cache_control("max-age=600"));
    http2::run(async {
        let client = http2::connect(&place.server).await;
        let mut response = http2::get(&client, "/a").await.unwrap();
        let len = usize::try_from(part).unwrap();
        let got = http2::content(response.body_mut(), len).await.unwrap();
        assert_eq!(object.difference(0, &got), None);
        assert!(got.len() >= len);
    });
    (place, object)
}

#[test]
fn a_range_that_is_there_is_sent_while_the_rest_is_not() {
    let (place, object) = standing_still();
    for (range, first, len) in [("0-0", 0, 1), ("500000-999999", 500_000, 500_000)] {
        let got = place.get_with("/a", &[&format!("Range: bytes={range}")]);
        assert_eq!((got.status, got.content.len()), (206, len));
        assert_eq!(object.difference(first, &got.content), None, "{range}");
        assert_eq!(got.field("content-range"), format!("bytes {range}/{LEN}"));
    }
    assert_eq!(place.asked(), 1, "nothing was asked for again");
}

#[test]
fn a_range_far_ahead_has_a_request_of_its_own_and_not_one_for_the_rest() {
    let (place, object) = on_its_way();
    let got = place.get_with("/a", &["Range: bytes=2900000-2900099"]);
    assert_eq!((got.status, object.difference(2_900_000, &got.content)), (206, None));
    assert_eq!(got.content.len(), 100);
    let requests = place.origin.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].range().is_some(), "{:?}", requests[1]);
    assert!(place.origin.content_bytes() < LEN / 2, "it was not waited for");
}

#[test]
fn a_range_shortly_ahead_of_what_stands_still_has_a_request_of_its_own_before_long() {
    let (place, object) = standing_still();
    let got = place.get_with("/a", &["Range: bytes=1100000-1199999"]);
    assert_eq!((got.status, object.difference(1_100_000, &got.content)), (206, None));
    assert_eq!((got.content.len(), place.origin.stalled()), (100_000, 1));
}

#[test]
fn several_ranges_come_one_after_the_other_whichever_are_there() {
    let (place, object) = on_its_way();
    let got = place.get_with("/a", &["Range: bytes=10-19,2900000-2900009"]);
    assert_eq!(got.status, 206);
    let boundary = got.field("content-type").split_once("boundary=").unwrap().1;
    for part in [10..20, 2_900_000..2_900_010] {
        let head = format!("content-range: bytes {}-{}/{LEN}\r\n", part.start, part.end - 1);
        let head = head.into_bytes();
        let is_head = |at: &usize| got.content[*at..].to_ascii_lowercase().starts_with(&head);
        let at = (0..got.content.len()).find(is_head).expect("the head of a part");
        let rest = &got.content[at..];
        let end = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        assert_eq!(object.difference(part.start, &rest[end..end + 10]), None);
    }
    assert!(got.content.ends_with(format!("--{boundary}--\r\n").as_bytes()));
    assert_eq!(got.field("content-length"), got.content.len().to_string());
}

#[test]
fn who_wants_no_content_waits_for_none() {
    let (place, object) = standing_still();
    let tag = object.tag().unwrap();
    let head = place.ask("HEAD", "/a", &[]);
    assert_eq!((head.status, head.field("content-length")), (200, LEN.to_string().as_str()));
    assert_eq!(head.content.len(), 0);
    let fields = |fields: &[&str]| place.get_with("/a", fields).status;
    assert_eq!(fields(&[&format!("If-None-Match: {tag}")]), 304);
    assert_eq!(fields(&["If-Match: \"other\""]), 412);
    assert_eq!(fields(&["Range: bytes=3000000-"]), 416);
    let range = "Range: bytes=5-9";
    assert_eq!(fields(&[range, &format!("If-Range: {tag}")]), 206);
    assert_eq!(place.asked(), 1);
}
