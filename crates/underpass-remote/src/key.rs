//! What an object is known by.

use std::fmt;

/// The most bytes of a key.
pub const KEY_BYTES_MAX: usize = 8 << 10;

/// The URL of an object, with its path and query as they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<str>);

/// A URL that is too long to be a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a URL of {0} bytes is not kept; at most {KEY_BYTES_MAX} are")]
pub struct KeyError(usize);

impl Key {
    /// The key of what is at this URL.
    ///
    /// # Errors
    ///
    /// If it has more than [`KEY_BYTES_MAX`] bytes.
    pub fn new(url: impl Into<String>) -> Result<Self, KeyError> {
        let url = url.into();
        let len = url.len();
        if len > KEY_BYTES_MAX { Err(KeyError(len)) } else { Ok(Self(url.into())) }
    }

    /// Its URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// 32 hexadecimal digits that no other key has.
    pub(crate) fn hash(&self) -> String {
        blake3::hash(self.0.as_bytes()).to_hex()[..32].to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_limit_and_a_name_of_its_own() {
        assert!(Key::new("x".repeat(KEY_BYTES_MAX)).is_ok());
        assert_eq!(Key::new("x".repeat(KEY_BYTES_MAX + 1)), Err(KeyError(KEY_BYTES_MAX + 1)));
        let [one, other] = ["http://o/a", "http://o/a?"].map(|url| Key::new(url).unwrap().hash());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}
