//! A member of a group, and what it sends to join.

use bytes::Bytes;
use tokio::sync::oneshot;

use super::Refusal;

/// Milliseconds on a clock that never goes back.
pub(crate) type Millis = u64;

/// Where an answer goes that a request waits for.
pub(crate) type Reply<T> = oneshot::Sender<T>;

/// The answer to a request to join.
pub(crate) type JoinAnswer = Result<Joined, JoinRefused>;

/// The answer to a request for the assignment.
pub(crate) type SyncAnswer = Result<Synced, Refusal>;

/// A way to assign partitions that a member supports, and what it says about itself for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: String,
    pub(crate) metadata: Bytes,
}

/// A request to join.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty for a member that has no name yet.
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout: Millis,
    pub(crate) rebalance_timeout: Millis,
    pub(crate) protocol_type: String,
    /// Those it supports, the preferred one first.
    pub(crate) protocols: Vec<Protocol>,
    /// The name it gets if it has none.
    pub(crate) fresh_id: String,
    /// Whether it can join again with the name that it is given (JoinGroup 4).
    pub(crate) joins_twice: bool,
    /// Whether a leader can be told that nothing needs assigning (JoinGroup 9).
    pub(crate) skips_assignment: bool,
}

/// What a member learns of the generation it has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    pub(crate) skip_assignment: bool,
    /// All members, for the leader alone.
    pub(crate) members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedMember {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
    pub(crate) metadata: Bytes,
}

/// Why a member could not join, and the name it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRefused {
    pub(crate) why: Refusal,
    pub(crate) member_id: String,
}

/// What a member has been assigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

/// How a member names itself: by the name it was given, and by the one of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    pub(crate) instance: Option<String>,
}

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Millis,
    pub(super) rebalance_timeout: Millis,
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// When it is taken for gone, unless it waits for an answer of ours.
    pub(super) expires: Millis,
    /// Whether its first join has yet to be answered: until then it cannot send heartbeats.
    pub(super) is_new: bool,
    /// Whether it has asked for its assignment in this generation.
    pub(super) synced: bool,
    pub(super) joining: Option<Reply<JoinAnswer>>,
    pub(super) syncing: Option<Reply<SyncAnswer>>,
}

impl Member {
    pub(super) fn new(join: Join, reply: Reply<JoinAnswer>, expires: Millis) -> Self {
        Self {
            instance: join.instance,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            assignment: Bytes::new(),
            expires,
            is_new: true,
            synced: false,
            joining: Some(reply),
            syncing: None,
        }
    }

    /// When silence means that it is gone. One that waits for us is not silent, but a new one that
    /// waits has no name yet, and joins once more if it gives up.
    pub(super) fn deadline(&self) -> Option<Millis> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.expires)
    }

    /// Whether it has come for the next generation, and can still be told of it.
    ///
    /// The connection of a new member may be closed: it never learns its name, so that partitions
    /// given to it would be read by no one for the length of a session.
    pub(super) fn has_joined(&self) -> bool {
        self.joining.as_ref().is_some_and(|reply| !(self.is_new && reply.is_closed()))
    }

    pub(super) fn heard_of(&mut self, now: Millis) {
        self.expires = now.saturating_add(self.session_timeout);
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|supported| supported.name == protocol)
    }

    /// What it says about itself for `protocol`.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let mut supported = self.protocols.iter();
        let found = supported.find(|supported| Some(&*supported.name) == protocol);
        found.map_or_else(Bytes::new, |supported| supported.metadata.clone())
    }

    /// Bytes that it takes, near enough for a limit.
    pub(super) fn size(&self) -> usize {
        let protocols: usize = self.protocols.iter().map(Protocol::size).sum();
        let names = self.client_id.len() + self.instance.as_ref().map_or(0, String::len);
        MEMBER_BYTES + protocols + names + self.assignment.len()
    }

    pub(super) fn answer_join(&mut self, answer: JoinAnswer) {
        if let Some(reply) = self.joining.take() {
            // One that has gone needs no answer.
            drop(reply.send(answer));
        }
    }

    /// Whether it waited for it.
    pub(super) fn answer_sync(&mut self, answer: SyncAnswer) -> bool {
        let Some(reply) = self.syncing.take() else { return false };
        drop(reply.send(answer));
        true
    }
}

impl Protocol {
    pub(super) const fn size(&self) -> usize {
        PROTOCOL_BYTES + self.name.len() + self.metadata.len()
    }
}

/// What a member costs without its strings: the structure, its entries in maps, its name twice.
const MEMBER_BYTES: usize = 512;

/// What a protocol costs without its bytes.
const PROTOCOL_BYTES: usize = 64;
