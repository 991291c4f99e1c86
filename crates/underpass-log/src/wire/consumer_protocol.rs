//! What the leader of a group of consumers assigns: bytes that a broker passes on unread, and that
//! the command shows. A version of two bytes stands before them.
//!
//! Source: Kafka's `ConsumerProtocolAssignment.json`, `ConsumerProtocol.java`.

use bytes::Bytes;

use super::{Malformed, Message, Reader};

/// A later version has the fields of this one first, and is read as this one.
const VERSION_MAX: i16 = 3;

schema! {
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

impl Message for ConsumerProtocolAssignment {
    const FLEXIBLE_FROM: i16 = i16::MAX;
}

/// Reads an assignment in the version that it says.
pub(crate) fn read<M: Message>(bytes: &Bytes) -> Result<M, Malformed> {
    let mut reader = Reader::new(bytes);
    let version = i16::from_be_bytes(reader.array()?);
    M::decode(&mut reader, version.clamp(0, VERSION_MAX))
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
        for version in [[0, 0], [0, 3], [0, 9], [0x7f, 0xff], [0xff, 0xff]] {
            let bytes = [&version, &bytes[2..]].concat();
            assert_eq!(read(&bytes.into()), Ok(assignment.clone()), "{version:?}");
        }
        assert!(read::<ConsumerProtocolAssignment>(&Bytes::from_static(b"\0")).is_err());
    }
}
