//! The identifiers of topics and of the cluster: 16 bytes, printed as Kafka prints them.
//!
//! Source: Kafka's `Uuid.java`: base64 for URLs without padding, 22 characters; and none that
//! begins with a dash, which a command would take for a flag.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};

/// Sixteen bytes that name something for good.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Uuid(pub(crate) [u8; 16]);

/// What was read is not the text of a [`Uuid`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an identifier is 22 characters of base64 for URLs")]
pub(crate) struct UuidFault;

impl Uuid {
    /// What stands for no identifier.
    pub(crate) const ZERO: Self = Self([0; 16]);

    /// A new one.
    ///
    /// # Errors
    ///
    /// Those of getrandom(2).
    pub(crate) fn random() -> rustix::io::Result<Self> {
        loop {
            let mut bytes = [0; 16];
            // getrandom(2): a call for up to 256 bytes is neither cut short nor interrupted.
            getrandom(&mut bytes, GetRandomFlags::empty())?;
            // RFC 9562, section 5.4: version 4, and the variant of that document.
            bytes[6] = bytes[6] & 0x0f | 0x40;
            bytes[8] = bytes[8] & 0x3f | 0x80;
            // The first of 64 characters is a dash once in 64 times.
            if !Self(bytes).to_string().starts_with('-') {
                return Ok(Self(bytes));
            }
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl FromStr for Uuid {
    type Err = UuidFault;

    fn from_str(text: &str) -> Result<Self, UuidFault> {
        let mut bytes = [0; 16];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(16) => Ok(Self(bytes)),
            _ => Err(UuidFault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_printed_and_read_as_kafka_does() {
        // `Uuid.fromString("MkU3OEVBNTcwNTJENDM2Qg")`, the cluster id in Kafka's own quick start.
        let id = Uuid(*b"2E78EA57052D436B");
        assert_eq!(id.to_string(), "MkU3OEVBNTcwNTJENDM2Qg");
        assert_eq!("MkU3OEVBNTcwNTJENDM2Qg".parse(), Ok(id));
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn what_is_not_sixteen_bytes_is_refused() {
        for text in
            ["", "MkU3OEVBNTcwNTJENDM2", "MkU3OEVBNTcwNTJENDM2QgAA", "MkU3OEVBNTcwNTJENDM2+g"]
        {
            assert_eq!(text.parse::<Uuid>(), Err(UuidFault), "{text:?}");
        }
    }

    #[test]
    fn two_are_never_the_same_and_none_begins_with_a_dash() {
        let ids: Vec<Uuid> = (0..1000).map(|_| Uuid::random().unwrap()).collect();
        assert!(ids.iter().all(|id| !id.to_string().starts_with('-') && id.0[6] >> 4 == 4));
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), 1000);
    }
}
