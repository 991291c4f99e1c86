use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use underpass::Stability;
use underpass_testkit::disk::disk_dir;

use super::*;
use crate::metadata_rules::MetadataRules;
use crate::sequence::Segment;

/// A settled representation of the ten bytes `0123456789`.
fn digits() -> Arc<Representation> {
    of_content(b"0123456789")
}

fn of_content(content: &[u8]) -> Arc<Representation> {
    let file = tempfile::tempfile_in(disk_dir().unwrap()).unwrap();
    file.write_all_at(content, 0).unwrap();
    let later = SystemTime::now() + Duration::from_secs(2);
    let name = Path::new("digits.txt");
    Arc::new(
        Representation::at(later, file.into(), name, Stability::None, &MetadataRules::default())
            .unwrap(),
    )
}

fn ask(method: &Method, fields: &[(HeaderName, &str)], of: &Arc<Representation>) -> Answer {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(name, HeaderValue::try_from(*value).unwrap());
    }
    Answer::of(method, &headers, of, 4)
}

/// Status, `Content-Length`, `Content-Range` and which bytes.
fn gist(answer: &Answer) -> (u16, &str, &str, Option<Range<u64>>) {
    let field = |name| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
    let part = match &answer.content {
        Content::File(_, range) => Some(range.clone()),
        Content::Empty | Content::UntilEnd(_) | Content::Memory(_) | Content::Sequence(_) => None,
        #[cfg(feature = "remote")]
        Content::Relayed(_) => None,
    };
    (answer.status.as_u16(), field(CONTENT_LENGTH), field(CONTENT_RANGE), part)
}

#[test]
fn a_get_without_conditions_is_all_of_the_file() {
    let file = digits();
    let answer = ask(&Method::GET, &[], &file);
    assert_eq!(gist(&answer), (200, "10", "", Some(0..10)));
    assert_eq!(&answer.headers, file.headers());
}

#[test]
fn an_empty_file_is_a_200_of_nothing() {
    for fields in [&[][..], &[(RANGE, "bytes=0-")], &[(RANGE, "bytes=5-9")]] {
        let answer = ask(&Method::GET, fields, &of_content(b""));
        assert_eq!(gist(&answer), (200, "0", "", None), "{fields:?}");
    }
}

#[test]
fn a_range_is_a_206_with_all_fields_of_the_200() {
    let file = digits();
    let answer = ask(&Method::GET, &[(RANGE, "bytes=2-4")], &file);
    assert_eq!(gist(&answer), (206, "3", "bytes 2-4/10", Some(2..5)));
    for name in file.headers().keys().filter(|name| *name != CONTENT_LENGTH) {
        assert_eq!(answer.headers.get(name), file.headers().get(name), "{name}");
    }
    assert_eq!(answer.headers.len(), file.headers().len() + 1);
}

#[test]
fn ranges_that_are_not_honoured_give_the_whole() {
    let file = digits();
    let etag = file.headers()[ETAG].to_str().unwrap();
    for (method, fields) in [
        (Method::HEAD, vec![(RANGE, "bytes=2-4")]),
        (Method::HEAD, vec![(RANGE, "bytes=10-")]),
        (Method::GET, vec![(RANGE, "bytes=2-4"), (RANGE, "bytes=6-7")]),
        (Method::GET, vec![(RANGE, "bytes=2-4"), (http::header::IF_RANGE, "\"other\"")]),
        (Method::GET, vec![(RANGE, "bytes=99-"), (http::header::IF_RANGE, "\"other\"")]),
        (Method::GET, vec![(http::header::IF_RANGE, etag)]),
    ] {
        let answer = ask(&method, &fields, &file);
        assert_eq!(gist(&answer), (200, "10", "", Some(0..10)), "{method} {fields:?}");
    }
    let answer = ask(&Method::GET, &[(RANGE, "bytes=-1"), (http::header::IF_RANGE, etag)], &file);
    assert_eq!(gist(&answer), (206, "1", "bytes 9-9/10", Some(9..10)));
}

#[test]
fn several_ranges_are_parts_each_with_its_place() {
    let content: Vec<u8> = (0..2000_u32).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect();
    let file = of_content(&content);
    let fields = [(RANGE, "bytes=1000-1003, -2, 9999-, 1-2")];
    let answer = ask(&Method::GET, &fields, &file);
    assert_eq!(answer.status, 206);
    let media_type = answer.headers[CONTENT_TYPE].to_str().unwrap();
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
    assert_eq!(boundary.len(), 32);
    assert!(!answer.headers.contains_key(CONTENT_RANGE));
    let Content::Sequence(sequence) = answer.content else { panic!("it is put together") };
    assert_eq!(answer.headers[CONTENT_LENGTH], sequence.len().to_string());
    let mut sent = String::new();
    for segment in sequence.segments() {
        match segment {
            Segment::Memory(bytes) => sent += std::str::from_utf8(bytes).unwrap(),
            Segment::File(_, part) => {
                let index = |at| usize::try_from(at).unwrap();
                sent += std::str::from_utf8(&content[index(part.start)..index(part.end)]).unwrap();
            }
        }
    }
    let part = |place, content| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Range: bytes {place}/2000\r\n\r\n{content}\r\n"
        )
    };
    let parts = [part("1000-1003", "mnop"), part("1998-1999", "wx"), part("1-2", "bc")].concat();
    assert_eq!(sent, format!("{parts}--{boundary}--\r\n"));
    assert_eq!(answer.headers.len(), file.headers().len());
}

#[test]
fn parts_that_are_no_gain_or_of_a_coded_file_are_the_whole() {
    let mut file = of_content(&[b'a'; 2000]);
    let status = |range, file: &_| ask(&Method::GET, &[(RANGE, range)], file).status.as_u16();
    assert_eq!(status("bytes=0-9,1000-1009", &file), 206);
    assert_eq!(status("bytes=0-909,990-1999", &file), 200);
    assert_eq!(status("bytes=0-0,100-100,200-200,300-300,400-400", &file), 200);
    let fields = [(RANGE, "bytes=0-9,1000-1009")];
    assert_eq!(ask(&Method::HEAD, &fields, &file).status, 200);
    assert_eq!(status("bytes=0-9, 80-99", &file), 206);
    let coding = HeaderValue::from_static("gzip");
    Arc::get_mut(&mut file).unwrap().headers_mut().insert(CONTENT_ENCODING, coding);
    assert_eq!(status("bytes=0-9,1000-1009", &file), 200);
    assert_eq!(status("bytes=0-9", &file), 206);
}

#[test]
fn an_unsatisfiable_range_tells_the_length() {
    let answer = ask(&Method::GET, &[(RANGE, "bytes=10-")], &digits());
    assert_eq!(answer.status, 416);
    assert_eq!(answer.headers[CONTENT_RANGE], "bytes */10");
    assert!(!answer.headers.contains_key(ETAG) && !answer.content.is_empty());
}

#[test]
fn a_304_comes_before_the_range_and_carries_the_tag_alone() {
    let file = digits();
    let etag = file.headers()[ETAG].clone();
    let fields = [(http::header::IF_NONE_MATCH, etag.to_str().unwrap()), (RANGE, "bytes=99-")];
    for method in [Method::GET, Method::HEAD] {
        let answer = ask(&method, &fields, &file);
        assert_eq!(gist(&answer), (304, "", "", None));
        assert_eq!((answer.headers.len(), &answer.headers[ETAG]), (1, &etag));
    }
}

#[test]
fn a_304_has_the_fields_by_which_a_cache_updates_and_no_others() {
    let mut file = digits();
    let kept = [(CACHE_CONTROL, "no-cache"), (CONTENT_LOCATION, "/a"), (EXPIRES, "0"), (VARY, "a")];
    let lost = (http::header::LINK, "<a>");
    let headers = Arc::get_mut(&mut file).unwrap().headers_mut();
    for (name, value) in kept.iter().chain([&lost]) {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.append(VARY, HeaderValue::from_static("b"));
    let answer = ask(&Method::GET, &[(http::header::IF_NONE_MATCH, "*")], &file);
    assert_eq!((answer.status.as_u16(), answer.headers.len()), (304, 6));
    for (name, value) in kept {
        assert_eq!(answer.headers[&name], value);
    }
    assert_eq!(answer.headers[ETAG], file.headers()[ETAG]);
    assert_eq!(answer.headers.get_all(VARY).iter().count(), 2);
}

#[test]
fn what_has_no_validators_is_sent_whole_or_not_at_all() {
    let name = Path::new("/proc/sys/fs/pipe-max-size");
    let file = std::fs::File::open(name).unwrap();
    let file = Arc::new(
        Representation::read(file, name, Stability::Guard, &MetadataRules::default()).unwrap(),
    );
    let len = std::fs::read(name).unwrap().len();
    for fields in [
        &[(RANGE, "bytes=0-1")][..],
        &[(RANGE, "bytes=99-")],
        &[(RANGE, "bytes=0-1"), (http::header::IF_RANGE, "\"\"")],
        &[(http::header::IF_NONE_MATCH, "\"\", W/\"\"")],
    ] {
        let answer = ask(&Method::GET, fields, &file);
        assert_eq!((answer.status.as_u16(), answer.content.len()), (200, Some(len as u64)));
    }
    let answer = ask(&Method::GET, &[(http::header::IF_NONE_MATCH, "*")], &file);
    assert_eq!((answer.status.as_u16(), answer.headers.len()), (304, 0));
    let answer = ask(&Method::GET, &[(http::header::IF_MATCH, "\"\"")], &file);
    assert_eq!(answer.status, 412);
}

#[test]
fn a_412_comes_before_a_416() {
    let fields = [(http::header::IF_MATCH, "\"other\""), (RANGE, "bytes=99-")];
    assert_eq!(ask(&Method::GET, &fields, &digits()).status, 412);
}

#[test]
fn each_date_condition_is_looked_at() {
    let long_ago = "Sun, 06 Nov 1994 08:49:37 GMT";
    let far = "Fri, 31 Dec 9999 23:59:59 GMT";
    for (name, date, status) in [
        (http::header::IF_MODIFIED_SINCE, far, 304),
        (http::header::IF_MODIFIED_SINCE, long_ago, 200),
        (http::header::IF_UNMODIFIED_SINCE, long_ago, 412),
        (http::header::IF_UNMODIFIED_SINCE, far, 200),
    ] {
        assert_eq!(ask(&Method::GET, &[(name, date)], &digits()).status, status);
    }
}

#[test]
fn errors_have_a_length_a_type_and_what_their_status_asks_for() {
    for (status, name, value) in [
        (StatusCode::SERVICE_UNAVAILABLE, RETRY_AFTER, "1"),
        (StatusCode::NOT_FOUND, CONTENT_LENGTH, "42"),
        (StatusCode::NOT_FOUND, CONTENT_TYPE, "text/plain; charset=utf-8"),
    ] {
        assert_eq!(Answer::error(status).headers[name], value);
    }
    let refused = Answer::method_not_allowed(HeaderValue::from_static("GET"));
    assert_eq!((refused.status.as_u16(), &refused.headers[ALLOW]), (405, &"GET".parse().unwrap()));
}

#[test]
fn a_head_keeps_the_fields_and_loses_the_content() {
    let answer = Answer::error(StatusCode::NOT_FOUND).without_content();
    assert_eq!(gist(&answer), (404, "42", "", None));
    assert!(answer.content.is_empty());
}
