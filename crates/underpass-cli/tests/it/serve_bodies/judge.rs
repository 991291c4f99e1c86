//! Whether what a client got is of one generation.

use std::ops::Range;
use std::sync::Arc;

use underpass_testkit::origin::Object;
use underpass_testkit::origin::cases::WRONG_LENS;

use super::answer::{Answer, End, field};

/// Refuses what no client may get, with the reason.
pub(super) fn judge(answer: &Answer, generations: &[Arc<Object>]) -> Result<(), String> {
    if answer.end == End::Late {
        return Err("nothing came for a long time".to_owned());
    }
    let Some(status) = answer.status() else { return Ok(()) };
    let is_multipart = || answer.field("content-type").and_then(boundary);
    match status {
        200 => judge_range(answer, None, generations),
        206 => match is_multipart() {
            Some(boundary) => judge_parts(answer, &boundary, generations),
            None => {
                let said = answer.field("content-range").ok_or("a 206 without its range")?;
                judge_range(answer, Some(said), generations)
            }
        },
        404 | 412 | 416 | 500 | 502..=504 => Ok(()),
        _ => Err(format!("a {status} was not expected")),
    }
}

/// The generations that a tag stands for.
fn named<'a>(tag: Option<&str>, all: &'a [Arc<Object>]) -> Result<Vec<&'a Object>, String> {
    let named = all.iter().map(Arc::as_ref);
    let named = named.filter(|it| tag.is_none_or(|tag| it.tag().as_deref() == Some(tag)));
    let named: Vec<_> = named.collect();
    if named.is_empty() { Err(format!("no generation has the tag {tag:?}")) } else { Ok(named) }
}

fn judge_range(
    answer: &Answer,
    said: Option<&str>,
    generations: &[Arc<Object>],
) -> Result<(), String> {
    let (content, is_whole) = (&answer.content[..], answer.end == End::Whole);
    let mut whys = Vec::new();
    for object in named(answer.field("etag"), generations)? {
        match is_of(object, said, content, is_whole) {
            Ok(()) => return Ok(()),
            Err(why) => whys.push(format!("generation {}: {why}", object.generation())),
        }
    }
    Err(format!("{} bytes, {:?}: {}", content.len(), answer.end, whys.join("; ")))
}

/// Whether these are bytes of one object, as many as were promised if they are whole.
fn is_of(
    object: &Object,
    said: Option<&str>,
    content: &[u8],
    is_whole: bool,
) -> Result<(), String> {
    let Range { start, end } = match said {
        None => 0..object.len(),
        Some(said) => {
            let (range, len) = parse(said).ok_or_else(|| format!("not a range: {said}"))?;
            // That an origin says too much shows when it ends, and not before.
            if (len != object.len() && !WRONG_LENS.contains(&len)) || range.end > len {
                return Err(format!("{said} of {} bytes", object.len()));
            }
            range
        }
    };
    let len = content.len() as u64;
    if len > end - start || is_whole && len < end - start {
        return Err(format!("{} bytes were to come", end - start));
    }
    object.difference(start, content).map_or(Ok(()), Err)
}

/// The parts of an answer that is whole; of one that is cut the last may be anything.
fn judge_parts(answer: &Answer, boundary: &str, generations: &[Arc<Object>]) -> Result<(), String> {
    let named = named(answer.field("etag"), generations)?;
    let parts = parts(&answer.content, boundary);
    if answer.end != End::Whole {
        return Ok(());
    }
    let is_one = |object: &&Object| {
        let mut parts = parts.iter();
        parts.all(|(head, content)| {
            let said = field(head, "content-range");
            said.is_some() && is_of(object, said, content, true).is_ok()
        })
    };
    let is_right = !parts.is_empty() && named.iter().any(is_one);
    if is_right { Ok(()) } else { Err(format!("{} parts are not of one generation", parts.len())) }
}

/// Heads and contents between boundaries.
fn parts<'a>(content: &'a [u8], boundary: &str) -> Vec<(String, &'a [u8])> {
    let line = format!("\r\n--{boundary}");
    let mut starts: Vec<usize> = Vec::new();
    let first = content.starts_with(&line.as_bytes()[2..]).then_some(0);
    let others = content.windows(line.len()).enumerate();
    let others = others.filter(|(_, it)| *it == line.as_bytes()).map(|(at, _)| at + 2);
    starts.extend(first.into_iter().chain(others));
    let part = |pair: &[usize]| {
        let part = &content[pair[0] + line.len() - 2..pair[1] - 2];
        let end = part.windows(4).position(|four| four == b"\r\n\r\n")?;
        Some((String::from_utf8_lossy(&part[..end]).into_owned(), &part[end + 4..]))
    };
    starts.windows(2).filter_map(part).collect()
}

fn boundary(media_type: &str) -> Option<String> {
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=")?;
    Some(boundary.trim_matches('"').to_owned())
}

/// The range and the length of `bytes 0-9/100`.
fn parse(said: &str) -> Option<(Range<u64>, u64)> {
    let (range, len) = said.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?..last.parse::<u64>().ok()? + 1, len.parse().ok()?))
}

#[test]
fn what_is_mixed_short_or_of_another_generation_is_refused() {
    let origin = underpass_testkit::origin::Origin::start().unwrap();
    let all = [origin.put("/a", Object::new(1000)), origin.put("/a", Object::new(1000))];
    let [old, new] = [&all[0], &all[1]];
    let judged = |head: &str, content: &[u8], end| {
        let head = Some(format!("HTTP/1.1 {head}\r\n\r\n"));
        judge(&Answer { head, content: content.to_owned(), end }, &all).is_ok()
    };
    let whole = old.bytes(0..1000);
    let mixed = [old.bytes(0..500), new.bytes(500..1000)].concat();
    let hole = [old.bytes(0..500), vec![0; 500]].concat();
    assert!(judged("200 OK", &whole, End::Whole) && judged("200 OK", &whole[..9], End::Cut));
    assert!(judged("502 Bad Gateway", b"why", End::Whole));
    assert!(!judged("200 OK", &whole[..999], End::Whole));
    assert!(!judged("200 OK", &mixed, End::Whole) && !judged("200 OK", &mixed, End::Cut));
    assert!(!judged("200 OK", &hole, End::Cut) && !judged("200 OK", &whole, End::Late));
    assert!(judged("200 OK\r\nETag: \"g1\"", &whole, End::Whole));
    assert!(!judged("200 OK\r\nETag: \"g2\"", &whole, End::Whole));
    assert!(!judged("200 OK\r\nETag: \"g3\"", &whole, End::Whole));
    let part = "206 Partial Content\r\nContent-Range: bytes 10-19/1000";
    assert!(judged(part, &whole[10..20], End::Whole));
    assert!(!judged(part, &whole[11..21], End::Whole) && !judged(part, &whole[10..19], End::Whole));
    assert!(!judged("206 Partial Content", &whole[10..20], End::Whole));
    let other = "206 Partial Content\r\nContent-Range: bytes 10-19/999";
    assert!(!judged(other, &whole[10..20], End::Whole));
    let parts = |second: &[u8]| {
        let head = |range| format!("\r\n--x\r\nContent-Range: bytes {range}/1000\r\n\r\n");
        let first = head("0-4").into_bytes();
        [&first[2..], &whole[..5], head("9-12").as_bytes(), second, b"\r\n--x--\r\n"].concat()
    };
    let head = "206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x";
    assert!(judged(head, &parts(&whole[9..13]), End::Whole));
    assert!(!judged(head, &parts(&new.bytes(9..13)), End::Whole));
    assert!(!judged(head, b"", End::Whole));
}
