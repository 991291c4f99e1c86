//! The request: a snappy block that holds a `ReadRequest`.
//!
//! Its length, what it unpacks to, its queries and their matchers have limits, and each is checked
//! before anything of that size is kept.
//!
//! Source: prometheus/prompb/remote.proto, types.proto; storage/remote/codec.go
//! `DecodeReadRequest`, `NegotiateResponseType`.

use std::ops::RangeInclusive;

use snap::raw::{Decoder, decompress_len};

use super::protobuf::{Content, Fields, low};
use crate::cursor::Cursor;
use crate::damage::Malformed;
use crate::matcher::{Matcher, Operator, PatternError};

/// A body's length. Requests have some hundred bytes; a regular expression may be long.
pub(super) const BODY_MAX: usize = 4 << 20;

/// What a body may unpack to.
const MESSAGE_MAX: usize = 16 << 20;

/// Queries of a request. Prometheus sends one at a time.
const QUERIES_MAX: usize = 64;

/// Matchers of a query.
const MATCHERS_MAX: usize = 256;

/// Regular expressions of a request, each of which may take 10 MiB when it is compiled.
const EXPRESSIONS_MAX: usize = 32;

/// What a client asks for.
#[derive(Debug)]
pub(super) struct ReadRequest {
    pub(super) queries: Vec<Query>,
    pub(super) answer: AnswerType,
}

/// How the samples are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AnswerType {
    /// One message with samples.
    Samples,
    /// Frames with chunks.
    Chunks,
}

/// Which series, and from when to when.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) matchers: Vec<Matcher>,
    /// In milliseconds, both ends included.
    pub(super) times: RangeInclusive<i64>,
    /// Whether only labels are wanted.
    pub(super) is_of_series_alone: bool,
}

/// Why a request cannot be answered: its own fault.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("the body has more than {BODY_MAX} bytes; ask for fewer series in one request")]
    Long,
    #[error("the body is not a snappy block")]
    Snappy(#[from] snap::Error),
    #[error("the body unpacks to {0} bytes, and at most {MESSAGE_MAX} are read")]
    LongMessage(usize),
    #[error("the body is not a ReadRequest")]
    Malformed(#[from] Malformed),
    #[error("there are more than {QUERIES_MAX} queries; ask in several requests")]
    Queries,
    #[error("there are more than {EXPRESSIONS_MAX} regular expressions; ask in several requests")]
    Expressions,
    #[error("a query has more than {MATCHERS_MAX} matchers")]
    Matchers,
    #[error("matcher type {0} is none of 0 (=), 1 (!=), 2 (=~) and 3 (!~)")]
    MatcherType(i32),
    #[error("the matcher of {name} has a regular expression that cannot be used")]
    Pattern { name: String, source: PatternError },
    #[error(
        "the client takes response types {0:?} and none of 0 (SAMPLES) and 1 (STREAMED_XOR_CHUNKS)"
    )]
    AnswerType(Vec<i32>),
}

impl ReadRequest {
    pub(super) fn read(body: &[u8]) -> Result<Self, RequestError> {
        Self::of_message(&unpack(body)?)
    }

    pub(super) fn of_message(message: &[u8]) -> Result<Self, RequestError> {
        let (mut queries, mut accepted) = (Vec::new(), Accepted::default());
        for field in Fields::of(message) {
            match field? {
                (1, Content::Bytes(_)) if queries.len() == QUERIES_MAX => {
                    return Err(RequestError::Queries);
                }
                (1, Content::Bytes(query)) => {
                    let left = EXPRESSIONS_MAX.saturating_sub(expressions(&queries));
                    queries.push(read_query(query, left)?);
                }
                (2, content) => accepted.read(content)?,
                _ => {}
            }
        }
        Ok(Self { queries, answer: accepted.best()? })
    }
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, RequestError> {
    if body.len() > BODY_MAX {
        return Err(RequestError::Long);
    }
    let len = decompress_len(body)?;
    if len > MESSAGE_MAX {
        return Err(RequestError::LongMessage(len));
    }
    Ok(Decoder::new().decompress_vec(body)?)
}

/// What a client takes, the best first.
#[derive(Debug, Default)]
struct Accepted {
    known: Option<AnswerType>,
    /// Some of the others.
    unknown: Vec<i32>,
}

/// Unknown response types that are told.
const TOLD_MAX: usize = 4;

impl Accepted {
    /// Numbers of an enumeration, one a field or packed.
    fn read(&mut self, content: Content<'_>) -> Result<(), Malformed> {
        match content {
            Content::Varint(number) => self.add(low(number)),
            Content::Fixed => {}
            Content::Bytes(packed) => {
                let mut numbers = Cursor::new(packed);
                while !numbers.is_empty() {
                    self.add(low(numbers.uvarint()?));
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, number: i32) {
        let known = match number {
            0 => Some(AnswerType::Samples),
            1 => Some(AnswerType::Chunks),
            _ => None,
        };
        if known.is_none() && self.unknown.len() < TOLD_MAX {
            self.unknown.push(number);
        }
        self.known = self.known.or(known);
    }

    /// The first that is known; a client that takes none in particular takes samples.
    fn best(self) -> Result<AnswerType, RequestError> {
        match self.known {
            None if self.unknown.is_empty() => Ok(AnswerType::Samples),
            known => known.ok_or(RequestError::AnswerType(self.unknown)),
        }
    }
}

/// How many regular expressions queries have.
fn expressions(queries: &[Query]) -> usize {
    queries.iter().flat_map(|query| &query.matchers).filter(is_expression).count()
}

fn is_expression(matcher: &&Matcher) -> bool {
    matches!(matcher.operator(), Operator::Regex | Operator::NotRegex)
}

fn read_query(message: &[u8], expressions_max: usize) -> Result<Query, RequestError> {
    let mut matchers = Vec::new();
    let (mut start, mut end) = (0, 0);
    let mut hints = Hints::default();
    for field in Fields::of(message) {
        match field? {
            (1, content) => start = content.int64().unwrap_or(start),
            (2, content) => end = content.int64().unwrap_or(end),
            (3, Content::Bytes(_)) if matchers.len() == MATCHERS_MAX => {
                return Err(RequestError::Matchers);
            }
            (3, Content::Bytes(matcher)) => {
                matchers.push(read_matcher(matcher)?);
                if matchers.iter().filter(is_expression).count() > expressions_max {
                    return Err(RequestError::Expressions);
                }
            }
            (4, Content::Bytes(message)) => hints.read(message)?,
            _ => {}
        }
    }
    let times = hints.narrow(start..=end);
    Ok(Query { matchers, times, is_of_series_alone: hints.is_of_series_alone })
}

fn read_matcher(message: &[u8]) -> Result<Matcher, RequestError> {
    let (mut kind, mut name, mut value) = (0, &b""[..], &b""[..]);
    for field in Fields::of(message) {
        match field? {
            (1, content) => kind = content.enumeration().unwrap_or(kind),
            (2, content) => name = content.bytes().unwrap_or(name),
            (3, content) => value = content.bytes().unwrap_or(value),
            _ => {}
        }
    }
    let operator = match kind {
        0 => Operator::Equal,
        1 => Operator::NotEqual,
        2 => Operator::Regex,
        3 => Operator::NotRegex,
        _ => return Err(RequestError::MatcherType(kind)),
    };
    Matcher::new(name, operator, value).map_err(|source| {
        let name = String::from_utf8_lossy(name).into_owned();
        RequestError::Pattern { name, source }
    })
}

/// What a client tells of the reason of a query. Times are those of one selector, where the query
/// has those of a whole expression.
#[derive(Debug, Default)]
struct Hints {
    start: i64,
    end: i64,
    is_of_series_alone: bool,
}

impl Hints {
    /// Of a message that comes twice, the fields of both count.
    fn read(&mut self, message: &[u8]) -> Result<(), Malformed> {
        for field in Fields::of(message) {
            match field? {
                (2, content) => self.is_of_series_alone = content.bytes() == Some(b"series"),
                (3, content) => self.start = content.int64().unwrap_or(self.start),
                (4, content) => self.end = content.int64().unwrap_or(self.end),
                _ => {}
            }
        }
        Ok(())
    }

    /// The part of the query's times that is asked for; all if the hints have none.
    fn narrow(&self, times: RangeInclusive<i64>) -> RangeInclusive<i64> {
        if (self.start, self.end) == (0, 0) {
            return times;
        }
        self.start.max(*times.start())..=self.end.min(*times.end())
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    /// `rate(up{job=~"a|b"}[5m])` from 1000 to 2000 ms, as Prometheus 3.5's `prompb` writes it.
    const MESSAGE: &[u8] = b"\x0a\x40\x08\xe8\x07\x10\xd0\x0f\
        \x1a\x0e\x12\x08__name__\x1a\x02up\
        \x1a\x0c\x08\x02\x12\x03job\x1a\x03a|b\
        \x22\x1a\x08\x98u\x12\x04rate\x18\x88\x0e\x20\xd0\x0f\x2a\x03job0\x018\xe0\xa7\x12\
        \x12\x02\x01\x00";

    fn chain(error: &RequestError) -> String {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}")
    }

    /// As one literal; §2.1 of the format: 60 is a length in the next byte.
    fn packed(message: &[u8]) -> Vec<u8> {
        let len = u8::try_from(message.len()).unwrap();
        // 128 to 255 take two bytes.
        let preamble = if len < 0x80 { vec![len] } else { vec![len, 1] };
        [&preamble[..], &[60 << 2, len - 1], message].concat()
    }

    #[test]
    fn a_request_is_its_queries_and_the_type_that_the_client_likes_best() {
        let request = ReadRequest::read(&packed(MESSAGE)).unwrap();
        assert_eq!(request.answer, AnswerType::Chunks);
        let [query] = &request.queries[..] else { panic!("{request:?}") };
        assert_eq!(query.times, 1800..=2000);
        let shown: Vec<String> = query.matchers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [r#"__name__="up""#, r#"job=~"a|b""#]);
        assert!(!query.is_of_series_alone);
    }

    #[test]
    fn what_is_missing_has_its_default() {
        let message = b"\x0a\x00\x0a\x0e\x08\x05\x10\x06\x22\x08\x12\x06series";
        let request = ReadRequest::of_message(message).unwrap();
        assert_eq!(request.answer, AnswerType::Samples);
        let queries: Vec<_> = request
            .queries
            .iter()
            .map(|query| (query.times.clone(), query.matchers.len(), query.is_of_series_alone))
            .collect();
        assert_eq!(queries, [(0..=0, 0, false), (5..=6, 0, true)]);
    }

    #[test]
    fn the_first_known_response_type_is_taken() {
        let answer = |types: &[u8]| ReadRequest::of_message(types).map(|request| request.answer);
        assert_eq!(answer(b"\x10\x05\x10\x01\x10\x00").unwrap(), AnswerType::Chunks);
        assert_eq!(answer(b"\x12\x03\x07\x00\x01").unwrap(), AnswerType::Samples);
        let wide = b"\x10\x81\x80\x80\x80\x80\x01\x10\x00";
        assert_eq!(answer(wide).unwrap(), AnswerType::Chunks, "the lower 32 bits count");
        let error = answer(b"\x12\x02\x07\x09").unwrap_err().to_string();
        assert!(error.contains("[7, 9]"), "{error}");
    }

    #[test]
    fn a_request_has_few_regular_expressions_however_many_queries() {
        let expression = b"\x1a\x05\x08\x02\x1a\x01a";
        let query = [&[0x0a, 17 * 7][..], &expression.repeat(17)].concat();
        assert!(ReadRequest::of_message(&query).is_ok());
        let longer = [&b"\x0a\xe7\x01"[..], &expression.repeat(33)].concat();
        for message in [query.repeat(2), longer] {
            let error = ReadRequest::of_message(&message).unwrap_err();
            assert!(matches!(error, RequestError::Expressions), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        let many = |part: &[u8], count| part.repeat(count);
        let matchers = many(b"\x1a\x00", 257);
        let query = [&b"\x0a\x82\x04"[..], &matchers].concat();
        // 32 MiB.
        let bomb = [0x80, 0x80, 0x80, 0x10, 0];
        for (body, wanted) in [
            (vec![0; BODY_MAX + 1], "more than 4194304 bytes"),
            (bomb.to_vec(), "unpacks to 33554432 bytes, and at most 16777216"),
            (b"\x05no".to_vec(), "not a snappy block"),
            (packed(&many(b"\x0a\x00", 65)), "more than 64 queries"),
            (packed(b"\x0a\x08\x0b"), "not a ReadRequest: byte 1: 8 bytes are needed"),
            (packed(b"\x0a\x04\x1a\x02\x08\x04"), "matcher type 4"),
            (packed(b"\x0a\x0a\x1a\x08\x08\x02\x12\x01a\x1a\x01("), "the matcher of a has"),
        ] {
            let error = chain(&ReadRequest::read(&body).unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
        let error = ReadRequest::of_message(&query).unwrap_err().to_string();
        assert!(error.contains("more than 256 matchers"), "{error}");
    }
}
