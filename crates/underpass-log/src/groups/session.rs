//! Being a member: the assignment, heartbeats, leaving, and what happens to those who fall silent.

use bytes::Bytes;

use super::Refusal;
use super::group::{Group, State};
use super::member::{Identity, JoinRefused, Member, Millis, Reply, SyncAnswer, Synced};

/// A request for the assignment of a generation.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub(crate) identity: Identity,
    pub(crate) generation: i32,
    /// What the member takes the group's protocol for, if it says so (SyncGroup 5).
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    /// The leader's work: what each member is assigned.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

impl Group {
    /// A member asks what it has been assigned; the leader says what each has been.
    pub(crate) fn sync(&mut self, now: Millis, sync: Sync, reply: Reply<SyncAnswer>) {
        let refused = self.check_sync(&sync).err();
        let id = sync.identity.member_id;
        match (refused, self.state) {
            (Some(why), _) => answer(reply, Err(why)),
            (None, State::Empty) => answer(reply, Err(Refusal::UnknownMember)),
            (None, State::Preparing { .. }) => answer(reply, Err(Refusal::RebalanceInProgress)),
            (None, State::Completing { until }) => {
                self.await_assignment(&id, reply);
                if self.is_leader(&id) {
                    self.assign(now, until, sync.assignments);
                }
            }
            (None, State::Stable { .. }) => {
                answer(reply, Ok(self.synced(&id)));
                self.has_synced(&id);
            }
        }
        self.tick(now);
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), Refusal> {
        self.check_member(&sync.identity, sync.generation)?;
        let differs =
            |theirs: &Option<String>, ours: &Option<String>| theirs.is_some() && theirs != ours;
        let inconsistent = differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol);
        if inconsistent { Err(Refusal::InconsistentProtocol) } else { Ok(()) }
    }

    fn check_member(&self, identity: &Identity, generation: i32) -> Result<(), Refusal> {
        self.recognise(&identity.member_id, identity.instance.as_deref())?;
        (generation == self.generation).then_some(()).ok_or(Refusal::IllegalGeneration)
    }

    fn await_assignment(&mut self, id: &str, reply: Reply<SyncAnswer>) {
        let Some(member) = self.members.get_mut(id) else { return };
        // It asks a second time: the first request gets an answer too, unlike Kafka's.
        member.answer_sync(Err(Refusal::RebalanceInProgress));
        member.syncing = Some(reply);
        member.synced = true;
    }

    /// Members that the leader has left out are assigned nothing.
    fn assign(&mut self, now: Millis, until: Millis, assignments: Vec<(String, Bytes)>) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.state = State::Stable { until: Some(until) };
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&id);
            let Some(member) = self.members.get_mut(&id) else { continue };
            // A session that ran out meanwhile was not acted upon, and starts again.
            if member.answer_sync(Ok(synced)) {
                member.heard_of(now);
            }
        }
        self.forget_sync_deadline();
    }

    fn synced(&self, id: &str) -> Synced {
        let member = self.members.get(id);
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map_or_else(Bytes::new, |member| member.assignment.clone()),
        }
    }

    fn has_synced(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.synced = true;
        }
        self.forget_sync_deadline();
    }

    fn forget_sync_deadline(&mut self) {
        if let State::Stable { until } = &mut self.state {
            *until = until.filter(|_| self.members.values().any(|member| !member.synced));
        }
    }

    /// A member is alive.
    pub(crate) fn heartbeat(
        &mut self,
        now: Millis,
        identity: &Identity,
        generation: i32,
    ) -> Result<(), Refusal> {
        self.tick(now);
        self.check_member(identity, generation)?;
        let Some(member) = self.members.get_mut(&identity.member_id) else {
            return Err(Refusal::UnknownMember);
        };
        member.heard_of(now);
        match self.state {
            State::Empty => Err(Refusal::UnknownMember),
            State::Preparing { .. } => Err(Refusal::RebalanceInProgress),
            State::Completing { .. } | State::Stable { .. } => Ok(()),
        }
    }

    /// Whether a member may commit offsets, or somebody who is not a member.
    ///
    /// Without a generation, a member or an instance it comes from a tool, or from a consumer that
    /// assigns its partitions itself; that may not interfere with members.
    pub(crate) fn commit(
        &mut self,
        now: Millis,
        identity: &Identity,
        generation: i32,
    ) -> Result<(), Refusal> {
        self.tick(now);
        if generation < 0 && self.is_empty() {
            return Ok(());
        }
        self.check_member(identity, generation)?;
        // Its partitions are about to be assigned, and may be somebody else's in a moment.
        if matches!(self.state, State::Completing { .. }) {
            return Err(Refusal::RebalanceInProgress);
        }
        if let Some(member) = self.members.get_mut(&identity.member_id) {
            member.heard_of(now);
        }
        Ok(())
    }

    /// Members leave, or an operator removes static members by the name of their instance.
    pub(crate) fn leave(&mut self, now: Millis, who: &[Identity]) -> Vec<Result<(), Refusal>> {
        let members = self.members.len();
        let left: Vec<_> = who.iter().map(|identity| self.leave_one(identity)).collect();
        if self.members.len() < members {
            self.rebalance(now);
        } else {
            // A name that was given out is not waited for any more.
            self.complete_if_all_joined(now);
        }
        self.tick(now);
        left
    }

    fn leave_one(&mut self, identity: &Identity) -> Result<(), Refusal> {
        let Identity { member_id, instance } = identity;
        if self.pending.remove(member_id).is_some() {
            return Ok(());
        }
        let current = instance.as_ref().and_then(|instance| self.instances.get(instance));
        let id = match current {
            Some(current) if member_id.is_empty() => current.clone(),
            _ => {
                self.recognise(member_id, instance.as_deref())?;
                member_id.clone()
            }
        };
        self.dismiss(&id);
        Ok(())
    }

    /// Removes a member, which may join anew if it is still there.
    fn dismiss(&mut self, id: &str) {
        let Some(mut member) = self.remove(id) else { return };
        let refused = JoinRefused { why: Refusal::UnknownMember, member_id: String::new() };
        member.answer_join(Err(refused));
        member.answer_sync(Err(Refusal::UnknownMember));
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Millis) {
        while self.next_deadline().is_some_and(|due| due <= now) {
            if !self.expire_members(now) {
                self.end_of_phase(now);
            }
        }
    }

    /// Removes those whose sessions are over; whether there were any.
    fn expire_members(&mut self, now: Millis) -> bool {
        let lapsed = self.pending.extract_if(.., |_, expires| *expires <= now).count();
        let due = |member: &Member| member.deadline().is_some_and(|due| due <= now);
        let silent = self.members.iter().filter(|(_, member)| due(member));
        let silent: Vec<String> = silent.map(|(id, _)| id.clone()).collect();
        for id in &silent {
            self.dismiss(id);
        }
        if !silent.is_empty() {
            self.rebalance(now);
        } else if lapsed > 0 {
            self.complete_if_all_joined(now);
        }
        lapsed > 0 || !silent.is_empty()
    }

    fn end_of_phase(&mut self, now: Millis) {
        match self.state {
            State::Empty | State::Stable { until: None } => {}
            State::Preparing { initial, .. } => self.end_of_joining(now, initial),
            State::Completing { .. } | State::Stable { until: Some(_) } => {
                let idle = self.members.iter().filter(|(_, member)| !member.synced);
                let idle: Vec<String> = idle.map(|(id, _)| id.clone()).collect();
                for id in &idle {
                    self.dismiss(id);
                }
                self.rebalance(now);
            }
        }
    }
}

fn answer(reply: Reply<SyncAnswer>, answer: SyncAnswer) {
    // The connection may have gone.
    drop(reply.send(answer));
}
