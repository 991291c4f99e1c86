//! What consumers tell each other through a group: bytes that a broker passes on unread, but for a
//! question such as who reads a topic. A version of two bytes stands before them.
//!
//! Source: Kafka's `ConsumerProtocolSubscription.json`, `ConsumerProtocolAssignment.json`,
//! `ConsumerProtocol.java`.

use bytes::Bytes;

use super::{Malformed, Message, Reader, Writer};

/// A later version has the fields of this one first, and is read as this one.
const VERSION_MAX: i16 = 3;

schema! {
    /// What a member wants to read, and what it reads.
    struct ConsumerProtocolSubscription {
        topics: Vec<String> [..],
        user_data: Option<Bytes> [..],
        owned_partitions: Vec<ConsumerProtocolTopic> [1..],
        generation_id: i32 [2..] = -1,
        rack_id: Option<String> [3..],
    }

    /// What a member is to read.
    struct ConsumerProtocolAssignment {
        assigned_partitions: Vec<ConsumerProtocolTopic> [..],
        user_data: Option<Bytes> [..],
    }

    /// Partitions of a topic.
    struct ConsumerProtocolTopic {
        topic: String [..],
        partitions: Vec<i32> [..],
    }
}

impl Message for ConsumerProtocolSubscription {
    const FLEXIBLE_FROM: i16 = i16::MAX;
}

impl Message for ConsumerProtocolAssignment {
    const FLEXIBLE_FROM: i16 = i16::MAX;
}

/// Reads a subscription or an assignment in the version that it says.
pub(crate) fn read<M: Message>(bytes: &Bytes) -> Result<M, Malformed> {
    let mut reader = Reader::new(bytes);
    let version = i16::from_be_bytes(reader.array()?);
    M::decode(&mut reader, version.clamp(0, VERSION_MAX))
}

/// Writes a subscription or an assignment with its version.
pub(crate) fn write(message: &impl Message, version: i16) -> Bytes {
    let mut writer = Writer::default();
    writer.put(&version.to_be_bytes());
    message.encode(&mut writer, version);
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_in_its_version_and_in_later_ones() {
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![ConsumerProtocolTopic {
                topic: "ab".into(),
                partitions: vec![0, 7],
            }],
            user_data: None,
        };
        let bytes = b"\0\0\0\0\0\x01\0\x02ab\0\0\0\x02\0\0\0\0\0\0\0\x07\xff\xff\xff\xff";
        assert_eq!(write(&assignment, 0), bytes[..]);
        for version in [[0, 0], [0, 3], [0, 9], [0x7f, 0xff], [0xff, 0xff]] {
            let bytes = [&version, &bytes[2..]].concat();
            assert_eq!(read(&bytes.into()), Ok(assignment.clone()), "{version:?}");
        }
        assert!(read::<ConsumerProtocolAssignment>(&Bytes::from_static(b"\0")).is_err());
    }

    #[test]
    fn a_subscription_has_more_from_version_to_version() {
        let all = b"\0\x03\0\0\0\x01\0\x01t\0\0\0\x01u\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\x05\
            \0\0\0\x08\0\x01r";
        let subscription = ConsumerProtocolSubscription {
            topics: vec!["t".into()],
            user_data: Some(Bytes::from_static(b"u")),
            owned_partitions: vec![ConsumerProtocolTopic {
                topic: "t".into(),
                partitions: vec![5],
            }],
            generation_id: 8,
            rack_id: Some("r".into()),
        };
        assert_eq!(read(&Bytes::from_static(all)), Ok(subscription.clone()));
        assert_eq!(write(&subscription, 3), all[..]);
        assert_eq!(write(&subscription, 2)[2..], all[2..all.len() - 3]);
        assert_eq!(write(&subscription, 1)[2..], all[2..all.len() - 7]);
        assert_eq!(write(&subscription, 0)[2..], all[2..14]);
    }
}
