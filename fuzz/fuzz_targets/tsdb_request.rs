//! Requests of remote read, next to prost, which reads messages too.
//!
//! Input: a byte that is 0 before a packed body; a message otherwise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use underpass_tsdb::remote::fuzzing::{self, Query, Refused};

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<ReadQuery>,
    #[prost(int32, repeated, tag = "2")]
    accepted: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadQuery {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<LabelMatcher>,
    #[prost(message, optional, tag = "4")]
    hints: Option<Hints>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMatcher {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(bytes = "vec", tag = "2")]
    name: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Hints {
    #[prost(bytes = "vec", tag = "2")]
    func: Vec<u8>,
    #[prost(int64, tag = "3")]
    start: i64,
    #[prost(int64, tag = "4")]
    end: i64,
}

fuzz_target!(|bytes: &[u8]| {
    match bytes.split_first() {
        Some((0, body)) => {
            let _read = fuzzing::body(body);
        }
        Some((_, message)) => compare(message),
        None => {}
    }
});

fn compare(message: &[u8]) {
    let Ok(other) = ReadRequest::decode(message) else { return };
    match fuzzing::message(message) {
        Ok((queries, takes_chunks)) => {
            assert_eq!(queries.len(), other.queries.len());
            queries.iter().zip(&other.queries).for_each(|(query, other)| same(query, other));
            let known = other.accepted.iter().find(|kind| matches!(kind, 0 | 1));
            assert_eq!(takes_chunks, known == Some(&1));
        }
        // prost passes over groups, which proto3 does not have.
        Err(Refused::Malformed(reason)) => assert!(reason.contains("wire type"), "{reason}"),
        Err(Refused::Otherwise(reason)) => {
            let is_many = other.queries.len() > 64
                || other.queries.iter().any(|query| query.matchers.len() > 256);
            let is_of_matcher = reason.contains("matcher");
            let is_of_type = other.accepted.iter().all(|kind| !matches!(kind, 0 | 1));
            assert!(is_many || is_of_matcher || is_of_type, "{reason}");
        }
    }
}

fn same((matchers, times, is_of_series_alone): &Query, other: &ReadQuery) {
    assert_eq!(matchers.len(), other.matchers.len());
    for (matcher, other) in matchers.iter().zip(&other.matchers) {
        assert_eq!((matcher.name(), matcher.value()), (&*other.name, &*other.value));
        let names = ["=", "!=", "=~", "!~"];
        let kind = usize::try_from(other.kind).expect("a known one");
        assert_eq!(matcher.operator().name(), names[kind]);
    }
    let hints = other.hints.clone().unwrap_or_default();
    assert_eq!(*is_of_series_alone, hints.func == b"series");
    let narrowed = match (hints.start, hints.end) {
        (0, 0) => other.start..=other.end,
        (start, end) => other.start.max(start)..=other.end.min(end),
    };
    assert_eq!(*times, narrowed);
}
