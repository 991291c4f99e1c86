//! What an origin said of one generation of an object.

use serde::{Deserialize, Serialize};
use underpass_client::Validator;

/// What is kept of the head of an origin's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The status that clients get: 200 for an object that was first asked for by a range.
    pub status: u16,
    /// Field names in lower case, and their values, in the order in which they came, without those
    /// that are for one connection.
    pub fields: Vec<(String, String)>,
    /// Fields of the request that the answer may depend on.
    pub asked: Vec<(String, String)>,
    /// The length of the whole object.
    pub len: u64,
    /// When it was asked for, in milliseconds since 1970: how long the answer took is part of its
    /// age.
    pub answered_ms: u64,
}

impl Head {
    /// Its fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of the first field of this name, which is in lower case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The tag that tells this generation from others byte by byte, if it has one.
    pub(crate) fn strong(&self) -> Option<Validator> {
        let tag = self.field("etag")?;
        // Stores that are like S3 leave the quotes out: such a tag cannot be sent back.
        let is_strong = tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"');
        is_strong.then(|| Validator::read(tag))
    }

    /// Whether parts of it can be asked for.
    pub(crate) fn has_ranges(&self) -> bool {
        let says = |value: &str| value.trim().eq_ignore_ascii_case("bytes");
        self.strong().is_some() && self.field("accept-ranges").is_some_and(says)
    }
}
