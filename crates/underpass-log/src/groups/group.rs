//! A consumer group: who is in it, which generation, and what it waits for.
//!
//! A pure machine: time comes in as a number, answers leave through channels that may be polled
//! without a runtime. So that its races can be tried out one by one, nothing here reads a clock,
//! draws a random number or takes a lock. It keeps to Kafka's classic protocol, states and errors
//! included; where it differs, the place says so.
//!
//! ```text
//!            join                     all have joined           leader's sync
//!   Empty ----------> Preparing --------------------> Completing -----------> Stable
//!     ^                |    ^                             |                     |
//!     +----------------+    +-----------------------------+---------------------+
//!       no member left        a member joins anew, leaves or falls silent
//! ```
//!
//! Source: Kafka's `ClassicGroup` and `GroupMetadataManager`; KIP-62, 134, 345, 394, 814.

use std::collections::{BTreeMap, HashMap};

use super::member::{Join, JoinedMember, Member, Millis};
use super::{Refusal, subscription};

/// What an initial rebalance still waits for (KIP-134).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Initial {
    /// How long the wait is that runs out at `until`.
    pub(super) delay: Millis,
    /// How much longer it may become.
    pub(super) remaining: Millis,
    /// Whether somebody joined during it.
    pub(super) newcomer: bool,
}

/// What a group is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has no members.
    Empty,
    /// Members join, until all have or `until` has come.
    Preparing { until: Millis, initial: Option<Initial> },
    /// Members wait for what the leader assigns. Those that did not ask by `until` are removed.
    Completing { until: Millis },
    /// Members read what they were assigned. Those that did not ask for it by `until` are removed.
    Stable { until: Option<Millis> },
}

/// What is the same for all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// How long the first rebalance of an empty group waits for more members.
    pub(crate) initial_delay: Millis,
    /// Members that a group has at most.
    pub(crate) members_max: usize,
}

/// A consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) rules: Rules,
    pub(super) state: State,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) members: BTreeMap<String, Member>,
    /// The member that each static member is at present.
    pub(super) instances: HashMap<String, String>,
    /// Names given out to members that have yet to join with them, and when they lapse.
    pub(super) pending: BTreeMap<String, Millis>,
}

/// A member as it is described to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DescribedMember {
    pub(crate) seen: JoinedMember,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) assignment: bytes::Bytes,
}

impl Group {
    /// An empty group after `generation` generations.
    pub(crate) fn new(rules: Rules, generation: i32, protocol_type: Option<String>) -> Self {
        Self {
            rules,
            state: State::Empty,
            generation,
            protocol_type,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            pending: BTreeMap::new(),
        }
    }

    /// Its state, as Kafka calls it.
    pub(crate) const fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::Preparing { .. } => "PreparingRebalance",
            State::Completing { .. } => "CompletingRebalance",
            State::Stable { .. } => "Stable",
        }
    }

    pub(crate) const fn generation(&self) -> i32 {
        self.generation
    }

    pub(crate) fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    pub(crate) fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Whether nothing would be lost with it but the number of its generation.
    pub(crate) fn is_vacant(&self) -> bool {
        self.is_empty() && self.pending.is_empty()
    }

    /// Bytes that its members take, near enough for a limit.
    pub(crate) fn size(&self) -> usize {
        let members: usize = self.members.iter().map(|(id, it)| id.len() * 2 + it.size()).sum();
        members + self.pending.keys().map(|id| PENDING_BYTES + id.len()).sum::<usize>()
    }

    /// Its members, for operators.
    pub(crate) fn describe(&self) -> Vec<DescribedMember> {
        let described = self.members.iter().map(|(id, member)| DescribedMember {
            seen: self.seen(id, member),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            assignment: member.assignment.clone(),
        });
        described.collect()
    }

    /// Whether the offsets of a topic may be deleted: no member reads it.
    pub(crate) fn deletes_offsets_of(&self, topic: &str) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        if self.protocol_type() != Some(subscription::PROTOCOL_TYPE) {
            return Err(Refusal::NonEmptyGroup);
        }
        // One that cannot be read may name any topic.
        let reads = |member: &Member| {
            subscription::names(&member.metadata(self.protocol()), topic).unwrap_or(true)
        };
        if self.members.values().any(reads) { Err(Refusal::SubscribedToTopic) } else { Ok(()) }
    }

    /// When something happens next, if nothing is sent.
    pub(crate) fn next_deadline(&self) -> Option<Millis> {
        let of_state = match self.state {
            State::Empty => None,
            State::Preparing { until, .. } | State::Completing { until } => Some(until),
            State::Stable { until } => until,
        };
        let sessions = self.members.values().filter_map(Member::deadline);
        sessions.chain(self.pending.values().copied()).chain(of_state).min()
    }

    pub(super) fn seen(&self, id: &str, member: &Member) -> JoinedMember {
        JoinedMember {
            member_id: id.to_owned(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol()),
        }
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// How long a rebalance waits: as long as the slowest member asks for.
    pub(super) fn rebalance_timeout(&self) -> Millis {
        let asked = self.members.values().map(|member| member.rebalance_timeout).max();
        asked.unwrap_or(0).max(REBALANCE_TIMEOUT_MIN)
    }

    /// Whether a member can join with what it supports.
    pub(super) fn supports(&self, join: &Join) -> bool {
        if self.is_empty() {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        let common = |name: &str| self.members.values().all(|member| member.supports(name));
        self.protocol_type() == Some(&*join.protocol_type)
            && join.protocols.iter().any(|protocol| common(&protocol.name))
    }

    /// The protocol that most members prefer among those that all support.
    pub(super) fn vote(&self) -> Option<String> {
        let mut votes = BTreeMap::<&str, usize>::new();
        for member in self.members.values() {
            let common = |name: &str| self.members.values().all(|other| other.supports(name));
            let mut names = member.protocols.iter().map(|protocol| &*protocol.name);
            if let Some(choice) = names.find(|name| common(name)) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, count)| *count);
        most.map(|(name, _)| name.to_owned())
    }

    /// Whether a member is who it says it is.
    pub(super) fn recognise(&self, id: &str, instance: Option<&str>) -> Result<(), Refusal> {
        if let Some(instance) = instance {
            let current = self.instances.get(instance).ok_or(Refusal::UnknownMember)?;
            if current != id {
                return Err(Refusal::FencedInstance);
            }
        }
        self.members.contains_key(id).then_some(()).ok_or(Refusal::UnknownMember)
    }

    /// Takes a member out. Those who wait for it are another matter.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        self.pending.remove(id);
        let removed = self.members.remove(id);
        if let Some(instance) = removed.as_ref().and_then(|member| member.instance.as_ref()) {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        removed
    }
}

/// A group whose static members are all away waits again and again: not without a pause.
const REBALANCE_TIMEOUT_MIN: Millis = 1000;

/// What a name costs that was given out.
const PENDING_BYTES: usize = 64;
