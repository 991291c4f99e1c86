//! What the journal of groups holds: one change after another.
//!
//! An entry is a byte that says which kind it is, and its fields in the order they are declared in.
//! Numbers are big-endian, strings and arrays have their length in front (4 bytes).
//!
//! ```text
//! 1 commit       group  time (8)  topics [name  id (16)  partitions [number (4)  offset (8)
//!                                                          leader epoch (4)  metadata]]
//! 2 forget       group  topics [name  partitions [number (4)]]
//! 3 delete group group
//! 4 delete topic topic  id (16)
//! 5 generation   group  number (4)  protocol type  empty since (8; -1: it has members)
//! ```

use crate::uuid::Uuid;

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// The epoch of the leader that the last record read came from, or -1.
    pub(crate) leader_epoch: i32,
    /// What the consumer wants to be kept with it.
    pub(crate) metadata: String,
}

/// A group's offsets of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicOffsets {
    pub(crate) name: String,
    /// So that a topic of the same name that is created later does not inherit them.
    pub(crate) id: Uuid,
    pub(crate) partitions: Vec<(i32, Committed)>,
}

/// A change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Offsets were committed, at a time in ms since 1970.
    Commit { group: String, time: i64, topics: Vec<TopicOffsets> },
    /// Offsets were deleted, or have expired.
    Forget { group: String, topics: Vec<(String, Vec<i32>)> },
    /// A group was deleted, with its offsets.
    DeleteGroup { group: String },
    /// A topic was deleted, with the offsets that any group has for it.
    DeleteTopic { topic: String, id: Uuid },
    /// A generation began. A group without members has none since the time given.
    Generation { group: String, number: i32, protocol_type: String, empty_since: Option<i64> },
}

const COMMIT: u8 = 1;
const FORGET: u8 = 2;
const DELETE_GROUP: u8 = 3;
const DELETE_TOPIC: u8 = 4;
const GENERATION: u8 = 5;

impl Entry {
    /// Appends the bytes of the entry.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Self::Commit { group, time, topics } => {
                to.push(COMMIT);
                put_bytes(to, group.as_bytes());
                to.extend(time.to_be_bytes());
                put_all(to, topics, |to, topic| topic.encode(to));
            }
            Self::Forget { group, topics } => {
                to.push(FORGET);
                put_bytes(to, group.as_bytes());
                put_all(to, topics, |to, (topic, partitions)| {
                    put_bytes(to, topic.as_bytes());
                    put_all(to, partitions, |to, number| to.extend(number.to_be_bytes()));
                });
            }
            Self::DeleteGroup { group } => {
                to.push(DELETE_GROUP);
                put_bytes(to, group.as_bytes());
            }
            Self::DeleteTopic { topic, id } => {
                to.push(DELETE_TOPIC);
                put_bytes(to, topic.as_bytes());
                to.extend(id.0);
            }
            Self::Generation { group, number, protocol_type, empty_since } => {
                to.push(GENERATION);
                put_bytes(to, group.as_bytes());
                to.extend(number.to_be_bytes());
                put_bytes(to, protocol_type.as_bytes());
                to.extend(empty_since.unwrap_or(-1).to_be_bytes());
            }
        }
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else, or if bytes follow.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let [kind] = take(from)?;
        let name = take_string(from)?;
        let entry = match kind {
            COMMIT => {
                let time = i64::from_be_bytes(take(from)?);
                Self::Commit { group: name, time, topics: take_all(from, TopicOffsets::decode)? }
            }
            FORGET => Self::Forget { group: name, topics: take_all(from, take_partitions)? },
            DELETE_GROUP => Self::DeleteGroup { group: name },
            DELETE_TOPIC => Self::DeleteTopic { topic: name, id: Uuid(take(from)?) },
            GENERATION => {
                let number = i32::from_be_bytes(take(from)?);
                let protocol_type = take_string(from)?;
                let empty_since = Some(i64::from_be_bytes(take(from)?)).filter(|since| *since >= 0);
                Self::Generation { group: name, number, protocol_type, empty_since }
            }
            _ => return None,
        };
        from.is_empty().then_some(entry)
    }
}

impl TopicOffsets {
    fn encode(&self, to: &mut Vec<u8>) {
        put_bytes(to, self.name.as_bytes());
        to.extend(self.id.0);
        put_all(to, &self.partitions, |to, (number, committed)| {
            to.extend(number.to_be_bytes());
            to.extend(committed.offset.to_be_bytes());
            to.extend(committed.leader_epoch.to_be_bytes());
            put_bytes(to, committed.metadata.as_bytes());
        });
    }

    fn decode(from: &mut &[u8]) -> Option<Self> {
        let name = take_string(from)?;
        let id = Uuid(take(from)?);
        Some(Self { name, id, partitions: take_all(from, take_committed)? })
    }
}

fn take_committed(from: &mut &[u8]) -> Option<(i32, Committed)> {
    let number = i32::from_be_bytes(take(from)?);
    let offset = i64::from_be_bytes(take(from)?);
    let leader_epoch = i32::from_be_bytes(take(from)?);
    Some((number, Committed { offset, leader_epoch, metadata: take_string(from)? }))
}

fn take_partitions(from: &mut &[u8]) -> Option<(String, Vec<i32>)> {
    let topic = take_string(from)?;
    Some((topic, take_all(from, |from| Some(i32::from_be_bytes(take(from)?)))?))
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_length(to, bytes.len());
    to.extend(bytes);
}

fn put_all<T>(to: &mut Vec<u8>, all: &[T], put: impl Fn(&mut Vec<u8>, &T)) {
    put_length(to, all.len());
    all.iter().for_each(|one| put(to, one));
}

/// What is kept came in one frame, so that its length fits.
fn put_length(to: &mut Vec<u8>, length: usize) {
    to.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*head)
}

fn take_string(from: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(u32::from_be_bytes(take(from)?)).ok()?;
    let (head, rest) = from.split_at_checked(length)?;
    *from = rest;
    String::from_utf8(head.to_vec()).ok()
}

/// Each takes bytes, so that the number of them is bounded by what is there.
fn take_all<T>(from: &mut &[u8], each: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = u32::from_be_bytes(take(from)?);
    (0..count).map(|_| each(from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(entry: &Entry) -> Vec<u8> {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_commit_is_written_as_the_head_of_this_module_says() {
        let committed = Committed { offset: 258, leader_epoch: 3, metadata: "m".to_owned() };
        let topic = TopicOffsets {
            name: "tt".to_owned(),
            id: Uuid([7; 16]),
            partitions: vec![(9, committed)],
        };
        let entry = Entry::Commit { group: "g".to_owned(), time: 5, topics: vec![topic] };
        let expected = [
            &b"\x01\0\0\0\x01g\0\0\0\0\0\0\0\x05\0\0\0\x01"[..],
            b"\0\0\0\x02tt\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07\x07",
            b"\0\0\0\x01\0\0\0\x09\0\0\0\0\0\0\x01\x02\0\0\0\x03\0\0\0\x01m",
        ]
        .concat();
        assert_eq!(bytes(&entry), expected);
        assert_eq!(Entry::decode(&expected), Some(entry));
        for cut in 0..expected.len() {
            assert_eq!(Entry::decode(&expected[..cut]), None, "{cut}");
        }
        assert_eq!(Entry::decode(&[&expected[..], b"\0"].concat()), None);
    }

    #[test]
    fn the_other_entries_are_written_as_it_says() {
        let group = || "g".to_owned();
        let generation = |number, empty_since| Entry::Generation {
            group: group(),
            number,
            protocol_type: "c".to_owned(),
            empty_since,
        };
        let topics = vec![("t".to_owned(), vec![1, 2])];
        let cases: [(Entry, &[u8]); 5] = [
            (
                Entry::Forget { group: group(), topics },
                b"\x02\0\0\0\x01g\0\0\0\x01\0\0\0\x01t\0\0\0\x02\0\0\0\x01\0\0\0\x02",
            ),
            (Entry::DeleteGroup { group: group() }, b"\x03\0\0\0\x01g"),
            (
                Entry::DeleteTopic { topic: "t".to_owned(), id: Uuid([9; 16]) },
                b"\x04\0\0\0\x01t\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09",
            ),
            (generation(2, Some(3)), b"\x05\0\0\0\x01g\0\0\0\x02\0\0\0\x01c\0\0\0\0\0\0\0\x03"),
            (
                generation(2, None),
                b"\x05\0\0\0\x01g\0\0\0\x02\0\0\0\x01c\xff\xff\xff\xff\xff\xff\xff\xff",
            ),
        ];
        for (entry, expected) in cases {
            assert_eq!(bytes(&entry), expected);
            assert_eq!(Entry::decode(expected), Some(entry));
        }
    }

    #[test]
    fn counts_and_lengths_that_lie_are_refused_before_anything_is_allocated() {
        assert_eq!(Entry::decode(b"\x03\xff\xff\xff\xffg"), None);
        assert_eq!(Entry::decode(b"\x01\0\0\0\x01g\0\0\0\0\0\0\0\x05\xff\xff\xff\xff"), None);
        assert_eq!(Entry::decode(b"\x02\0\0\0\x01g\xff\xff\xff\xff"), None);
        assert_eq!(Entry::decode(b"\x06\0\0\0\x01g"), None);
        assert_eq!(Entry::decode(b""), None);
    }
}
