use std::num::NonZeroUsize;

use http::{Method, StatusCode};
use underpass_remote::testing::{Feed, head};

use super::*;
use crate::answer::{Answer, Content};
use crate::body::{Payload, Readable};
use crate::tree::KeptFiles;

const HOUR: Duration = Duration::from_secs(3_600);

fn feed(len: u64) -> Feed {
    Feed::new(tempfile::tempfile().unwrap().into(), len).unwrap()
}

fn of(feed: &Feed, fields: &[(&str, &str)]) -> OfEntry {
    OfEntry {
        entry: None,
        object: Arc::clone(feed.object()),
        head: Arc::new(head(fields)),
        is_whole: false,
        name: "http://o/x".into(),
        lifetime: Lifetime::new(Duration::from_secs(7), HOUR),
        origin_timeout: HOUR,
    }
}

fn represented(of: &OfEntry) -> Representation {
    Representation::of_entry(of, of.duplicate().unwrap()).unwrap()
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort_unstable();
    lines
}

#[test]
fn fields_are_the_origins_but_for_those_of_its_connection_and_of_one_client() {
    let feed = feed(12);
    let made = represented(&of(
        &feed,
        &[
            ("content-type", "text/x"),
            ("etag", "\"a\""),
            ("cache-control", "max-age=60"),
            ("vary", "Accept-Encoding"),
            ("link", "</a>"),
            ("link", "</b>"),
            ("connection", "close, X-Hop"),
            ("connection", "keep-alive"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("upgrade", "h2c"),
            ("proxy-authenticate", "Basic"),
            ("set-cookie", "id=1"),
            ("age", "100"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("content-length", "13"),
            ("content-range", "bytes 0-0/12"),
            ("accept-ranges", "none"),
            ("alt-svc", "h3=\":443\""),
        ],
    ));
    assert_eq!(
        lines(made.headers()),
        [
            "accept-ranges: bytes",
            "cache-control: max-age=60",
            "content-length: 12",
            "content-type: text/x",
            "etag: \"a\"",
            "link: </a>",
            "link: </b>",
            "vary: Accept-Encoding",
        ]
    );
}

/// The status of the answer to a GET with these fields.
fn status(of: &OfEntry, fields: &[(&'static str, &'static str)]) -> StatusCode {
    let fields = fields
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let representation = Arc::new(represented(of));
    Answer::of(&Method::GET, &fields.collect(), &representation, 16).status
}

#[test]
fn parts_are_sent_only_of_what_has_a_strong_tag_and_conditions_hold_for_all() {
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    let feed = feed(100);
    let range = ("range", "bytes=5-9");
    for (tag, with_range, accepts) in
        [("\"a\"", 206, "bytes"), ("W/\"a\"", 200, "none"), ("a", 200, "none"), ("", 200, "none")]
    {
        let of = of(&feed, &[("etag", tag), ("last-modified", DATE)]);
        assert_eq!(status(&of, &[range]), with_range, "{tag}");
        assert_eq!(represented(&of).headers()["accept-ranges"], accepts);
        assert_eq!(status(&of, &[("if-modified-since", DATE)]), 304);
        let is_tag = tag.ends_with('"');
        let none_match = status(&of, &[("if-none-match", "\"a\"")]);
        assert_eq!(none_match, if is_tag { 304 } else { 200 }, "{tag}");
        assert_eq!(status(&of, &[range, ("if-range", "\"b\"")]), 200);
        assert_eq!(status(&of, &[range, ("if-range", "\"a\"")]), with_range);
        assert_eq!(status(&of, &[range, ("if-range", DATE)]), with_range);
    }
    let of = of(&feed, &[("etag", "\"a\"")]);
    assert_eq!(status(&of, &[("range", "bytes=100-")]), 416);
    assert_eq!(status(&of, &[("if-match", "\"b\"")]), 412);
}

#[test]
fn one_that_is_on_its_way_has_its_length_and_is_sent_as_it_comes() {
    let feed = feed(100);
    let made = Arc::new(represented(&of(&feed, &[])));
    assert_eq!((made.len(), made.file().is_none()), (Some(100), true));
    let Content::File(file, range) = Answer::whole(&made).content else { panic!("a file") };
    assert_eq!(range, 0..100);
    assert!(matches!(file.to_be_sent(5..9), Payload::Arriving(part) if part.left() == 4));
    assert!(matches!(file.to_be_read(5..9), Readable::Arriving(_)));
}

#[test]
fn one_without_bytes_is_nothing_to_wait_for() {
    let made = Arc::new(represented(&of(&feed(0), &[])));
    assert!(matches!(Answer::whole(&made).content, Content::Empty));
    assert_eq!(made.headers()["content-length"], "0");
}

#[test]
fn one_that_is_whole_is_kept_as_a_file_until_its_origin_says_something_else_of_it() {
    let feed = feed(100);
    let files = KeptFiles::of_workers(2, NonZeroUsize::new(8).unwrap());
    let get = |of: &OfEntry| files[0].of_entry(b"/x?a", of).unwrap();
    let mut of = of(&feed, &[("etag", "\"a\"")]);
    let coming = get(&of);
    assert!(Arc::ptr_eq(&coming, &get(&of)), "one mapping for all");
    assert!(Arc::ptr_eq(&coming, &files[1].of_entry(b"/x?a", &of).unwrap()));
    assert!(files[0].fresh_entry(b"/x?a").is_none(), "it may be cut yet");
    feed.give(0, &[1; 100]).unwrap();
    of.is_whole = true;
    let whole = get(&of);
    assert!(whole.file().is_some_and(FileBytes::is_vouched_for));
    assert!(matches!(whole.to_be_sent(0..100), Payload::Bytes(_)));
    assert!(Arc::ptr_eq(&whole, &get(&of)));
    // Those who have the other still get what is there.
    assert!(matches!(coming.to_be_sent(0..100), Payload::Arriving(_)));
    of.head = Arc::new(head(&[("etag", "\"a\""), ("x-new", "1")]));
    let other = get(&of);
    assert_eq!((other.headers().get("x-new").is_some(), whole.headers().len()), (true, 3));
    assert!(Arc::ptr_eq(&other, &get(&of)));
    assert!(files[0].fresh_entry(b"/x").is_none(), "another query");
}

#[test]
fn one_that_is_not_fresh_is_not_found_without_a_look() {
    let feed = feed(1);
    feed.give(0, &[1]).unwrap();
    let files = KeptFiles::of_workers(1, NonZeroUsize::MIN).remove(0);
    let mut of = OfEntry { is_whole: true, ..of(&feed, &[]) };
    // It has a tenth of a second.
    let mut is_found = |fresh_for| {
        of.lifetime = Lifetime::new(Duration::ZERO, fresh_for);
        let kept = files.of_entry(b"/x", &of).unwrap();
        files.fresh_entry(b"/x").map(|found| Arc::ptr_eq(&found, &kept))
    };
    let found = (0..100).find_map(|_| is_found(HOUR));
    assert_eq!(found, Some(true));
    assert_eq!(is_found(Duration::ZERO), None);
    files.forget_entry(b"/x");
    assert!(files.fresh_entry(b"/x").is_none());
}

#[test]
fn the_answer_to_a_plain_request_has_the_fields_of_a_hit_and_its_age() {
    let feed = feed(3);
    feed.give(0, b"abc").unwrap();
    let of = OfEntry { is_whole: true, ..of(&feed, &[("etag", "\"a\"")]) };
    let made = represented(&of);
    let mut headers = made.headers().clone();
    made.add_hit_fields(&mut headers);
    for age in [7, 12_345, 90] {
        made.set_lifetime(Lifetime::new(Duration::from_secs(age), HOUR));
        let begin = std::time::Instant::now();
        // The next second.
        let at = underpass_testkit::wait::until(Duration::from_secs(60), || {
            let (answer, head_bytes) = made.plain_answer();
            let text = String::from_utf8(answer.to_vec()).unwrap();
            let said: u64 = text.split_once("age: ")?.1.lines().next()?.parse().ok()?;
            let passed = begin.elapsed().as_secs() + 2;
            (age..=age + passed).contains(&said).then_some((text, head_bytes))
        });
        let (text, head_bytes) = at.expect("a second passes");
        assert_eq!(&text[head_bytes..], "abc", "{text}");
        assert!(text.contains("cache-status: underpass; hit\r\n"), "{text}");
        assert!(text[..head_bytes].ends_with("\r\n\r\n") && text.contains("date: "), "{text}");
        assert_eq!(text[..head_bytes].lines().count(), headers.len() + 3, "{text}");
    }
}
