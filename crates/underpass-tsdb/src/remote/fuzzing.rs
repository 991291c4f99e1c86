//! What fuzz targets see of the inside.

use std::ops::RangeInclusive;

use super::encode;
use super::request::{AnswerType, ReadRequest, RequestError};
use crate::matcher::Matcher;
use crate::sample::Samples;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is not a message.
    Malformed(String),
    /// There are too many of something, or one is unknown.
    Otherwise(String),
}

/// A query: its matchers, its times, and whether it is of series alone.
pub type Query = (Vec<Matcher>, RangeInclusive<i64>, bool);

/// The queries of a request, and whether the client takes chunks.
///
/// # Errors
///
/// [`Refused`].
pub fn message(bytes: &[u8]) -> Result<(Vec<Query>, bool), Refused> {
    told(ReadRequest::of_message(bytes))
}

/// The same of a body that is packed.
///
/// # Errors
///
/// [`Refused`].
pub fn body(bytes: &[u8]) -> Result<(Vec<Query>, bool), Refused> {
    told(ReadRequest::read(bytes))
}

fn told(read: Result<ReadRequest, RequestError>) -> Result<(Vec<Query>, bool), Refused> {
    match read {
        Ok(request) => {
            let queries = request.queries.into_iter();
            let query = |query: super::request::Query| {
                (query.matchers, query.times, query.is_of_series_alone)
            };
            Ok((queries.map(query).collect(), request.answer == AnswerType::Chunks))
        }
        Err(RequestError::Malformed(error)) => Err(Refused::Malformed(error.to_string())),
        Err(error) => Err(Refused::Otherwise(error.to_string())),
    }
}

/// Chunks of samples: the byte of each one's encoding, and its data.
#[must_use]
pub fn encoded(samples: &Samples) -> Vec<(u8, Vec<u8>)> {
    let mut chunks = Vec::new();
    encode::samples(samples, |chunk| chunks.push((chunk.encoding.byte(), chunk.data)));
    chunks
}
