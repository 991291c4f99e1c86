//! What a consumer says when it joins: the topics it wants to read.
//!
//! Only the beginning is read, which all versions have in common: the version (2 bytes), then an
//! array of strings. The rest is between members.
//!
//! Source: Kafka's `ConsumerProtocolSubscription.json`.

/// The type of protocol that consumers speak.
pub(crate) const PROTOCOL_TYPE: &str = "consumer";

/// Whether a subscription names a topic; `None` if it cannot be read.
pub(super) fn names(metadata: &[u8], topic: &str) -> Option<bool> {
    let (_version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut found = false;
    for _ in 0..i32::from_be_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, tail) = tail.split_at_checked(length)?;
        found |= name == topic.as_bytes();
        rest = tail;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topics_of_a_subscription_are_found() {
        // Version 1; 2 topics, "a" and "bcd"; no user data; no owned partitions.
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\x03bcd\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(names(bytes, "bcd"), Some(true));
        assert_eq!(names(bytes, "bc"), Some(false));
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_not_read() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01a\0\x03bcd";
        for cut in 0..bytes.len() {
            assert_eq!(names(&bytes[..cut], "a"), None, "{cut}");
        }
        assert_eq!(names(b"\0\0\x7f\xff\xff\xff\0\x01a", "a"), None);
        assert_eq!(names(b"\0\0\0\0\0\x01\xff\xff", "a"), None);
    }
}
