//! Joining, and what follows from it: the next generation.

use super::Refusal;
use super::group::{Group, Initial, State};
use super::member::{Join, JoinAnswer, JoinRefused, Joined, Member, Millis, Protocol, Reply};

/// How long a member that has no name yet waits for its first answer: until then it cannot send
/// heartbeats, and its connection is not looked at, so that it would stay for good if it had gone.
/// As Kafka's `group.coordinator.new.member.join.timeout.ms`.
const NEW_MEMBER_TIMEOUT: Millis = 5 * 60 * 1000;

impl Group {
    /// A member asks to be in the next generation.
    pub(crate) fn join(&mut self, now: Millis, join: Join, reply: Reply<JoinAnswer>) {
        if let Err(why) = self.admits(&join) {
            let unnamed = why == Refusal::GroupFull;
            let member_id = if unnamed { String::new() } else { join.member_id };
            refuse(reply, why, member_id);
        } else if join.member_id.is_empty() {
            self.join_as_new(now, join, reply);
        } else {
            self.join_again(now, join, reply);
        }
        self.tick(now);
    }

    /// Unlike Kafka, which lets them grow until the next generation, names given out count too, so
    /// that joining and never coming back leaves a bounded number of them.
    fn admits(&self, join: &Join) -> Result<(), Refusal> {
        let known = self.members.contains_key(&join.member_id)
            || self.pending.contains_key(&join.member_id)
            || join.instance.as_ref().is_some_and(|it| self.instances.contains_key(it));
        if !known && self.members.len() + self.pending.len() >= self.rules.members_max {
            return Err(Refusal::GroupFull);
        }
        self.supports(join).then_some(()).ok_or(Refusal::InconsistentProtocol)
    }

    fn join_as_new(&mut self, now: Millis, join: Join, reply: Reply<JoinAnswer>) {
        let current = join.instance.as_ref().and_then(|instance| self.instances.get(instance));
        if let Some(current) = current.cloned() {
            return self.replace_static(now, &current, join, reply);
        }
        let id = join.fresh_id.clone();
        if join.instance.is_none() && join.joins_twice {
            self.pending.insert(id.clone(), now.saturating_add(join.session_timeout));
            return refuse(reply, Refusal::MemberIdRequired, id);
        }
        self.add(now, id, join, reply);
    }

    fn join_again(&mut self, now: Millis, join: Join, reply: Reply<JoinAnswer>) {
        let id = join.member_id.clone();
        if self.pending.contains_key(&id) && join.instance.is_none() {
            return self.add(now, id, join, reply);
        }
        if let Err(why) = self.recognise(&id, join.instance.as_deref()) {
            return refuse(reply, why, id);
        }
        let same = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        match self.state {
            State::Empty => refuse(reply, Refusal::UnknownMember, id),
            // The answer that it did not get, or a follower with nothing new.
            State::Completing { .. } if same => self.answer_again(&id, reply),
            State::Stable { .. } if same && !self.is_leader(&id) => self.answer_again(&id, reply),
            // A leader joins again for what members do not say, such as a topic's new partitions.
            State::Preparing { .. } | State::Completing { .. } | State::Stable { .. } => {
                self.update(&id, join, reply);
                self.rebalance(now);
            }
        }
    }

    fn answer_again(&self, id: &str, reply: Reply<JoinAnswer>) {
        // The connection may have gone.
        drop(reply.send(Ok(self.joined(id, false))));
    }

    fn add(&mut self, now: Millis, id: String, join: Join, reply: Reply<JoinAnswer>) {
        if let State::Preparing { initial: Some(initial), .. } = &mut self.state {
            initial.newcomer = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.pending.remove(&id);
        self.leader.get_or_insert_with(|| id.clone());
        let expires = now.saturating_add(NEW_MEMBER_TIMEOUT);
        self.members.insert(id, Member::new(join, reply, expires));
        self.rebalance(now);
    }

    fn update(&mut self, id: &str, join: Join, reply: Reply<JoinAnswer>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.protocols = join.protocols;
        member.session_timeout = join.session_timeout;
        member.rebalance_timeout = join.rebalance_timeout;
        // It asks a second time: the first request gets an answer too, unlike Kafka's.
        let superseded =
            JoinRefused { why: Refusal::RebalanceInProgress, member_id: id.to_owned() };
        member.answer_join(Err(superseded));
        member.joining = Some(reply);
    }

    /// A static member has been started anew: it takes the place of what it was, which is fenced.
    fn replace_static(&mut self, now: Millis, old: &str, join: Join, reply: Reply<JoinAnswer>) {
        let Some(mut member) = self.members.remove(old) else { return };
        let fenced = JoinRefused { why: Refusal::FencedInstance, member_id: old.to_owned() };
        member.answer_join(Err(fenced));
        member.answer_sync(Err(Refusal::FencedInstance));
        let id = join.fresh_id.clone();
        if self.is_leader(old) {
            self.leader = Some(id.clone());
        }
        if let Some(instance) = &join.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        // What follows is about its first self's session, which has begun.
        member.is_new = false;
        let skips = join.skips_assignment;
        self.members.insert(id.clone(), member);
        self.update(&id, join, reply);
        self.heard_of(now, &id);
        match self.state {
            // Nothing changes for the others if the vote stays.
            State::Stable { .. } if self.vote() == self.protocol => self.step_in(&id, old, skips),
            State::Stable { .. } | State::Completing { .. } => self.prepare(now),
            State::Empty | State::Preparing { .. } => self.complete_if_all_joined(now),
        }
    }

    /// A static member gets back what it had, without a rebalance.
    ///
    /// One that leads, and cannot be told to skip the assignment, is told that its old self leads:
    /// else it would assign anew, and the others would not learn of it (KIP-814).
    fn step_in(&mut self, id: &str, old: &str, skips: bool) {
        let mut joined = self.joined(id, skips);
        if !skips && self.is_leader(id) {
            old.clone_into(&mut joined.leader);
            joined.members.clear();
        }
        if let Some(member) = self.members.get_mut(id) {
            member.answer_join(Ok(joined));
        }
    }

    fn joined(&self, id: &str, skips: bool) -> Joined {
        let leads = self.is_leader(id);
        let all = || self.members.iter().map(|(id, member)| self.seen(id, member)).collect();
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            member_id: id.to_owned(),
            skip_assignment: leads && skips,
            members: if leads { all() } else { Vec::new() },
        }
    }

    fn heard_of(&mut self, now: Millis, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.heard_of(now);
        }
    }

    /// Members have changed: they shall join again, if they have not been asked to already.
    pub(super) fn rebalance(&mut self, now: Millis) {
        if matches!(self.state, State::Preparing { .. }) {
            self.complete_if_all_joined(now);
        } else {
            self.prepare(now);
        }
    }

    fn prepare(&mut self, now: Millis) {
        for member in self.members.values_mut() {
            member.answer_sync(Err(Refusal::RebalanceInProgress));
        }
        let timeout = self.rebalance_timeout();
        if self.state == State::Empty {
            let delay = self.rules.initial_delay;
            let remaining = timeout.saturating_sub(delay);
            let initial = Some(Initial { delay, remaining, newcomer: false });
            self.state = State::Preparing { until: now.saturating_add(delay), initial };
        } else {
            let until = now.saturating_add(timeout);
            self.state = State::Preparing { until, initial: None };
            self.complete_if_all_joined(now);
        }
    }

    /// An initial rebalance takes its time, even if all are there.
    pub(super) fn complete_if_all_joined(&mut self, now: Millis) {
        if !matches!(self.state, State::Preparing { initial: None, .. }) {
            return;
        }
        if self.pending.is_empty() && self.members.values().all(|it| it.joining.is_some()) {
            self.complete(now);
        }
    }

    /// New members whose connection has been closed cannot learn their name.
    fn remove_lost(&mut self) {
        let lost = |member: &Member| member.joining.is_some() && !member.has_joined();
        self.remove_all(|member| lost(member));
    }

    /// The time for joining is over.
    pub(super) fn end_of_joining(&mut self, now: Millis, initial: Option<Initial>) {
        match initial {
            Some(Initial { delay, remaining, newcomer: true }) => {
                let longer = self.rules.initial_delay.min(remaining);
                let remaining = remaining.saturating_sub(delay);
                let initial = Some(Initial { delay: longer, remaining, newcomer: false });
                self.state = State::Preparing { until: now.saturating_add(longer), initial };
            }
            _ => self.complete(now),
        }
    }

    /// The next generation begins with those who have joined, and with static members, who may be
    /// about to be started anew.
    fn complete(&mut self, now: Millis) {
        self.remove_lost();
        self.remove_all(|member| member.joining.is_none() && member.instance.is_none());
        if self.members.is_empty() {
            return self.begin_generation(State::Empty);
        }
        let until = now.saturating_add(self.rebalance_timeout());
        if !self.elect() {
            // Static members alone, and all of them away: their sessions decide.
            self.state = State::Preparing { until, initial: None };
            return;
        }
        self.begin_generation(State::Completing { until });
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id, false);
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.answer_join(Ok(joined));
            member.heard_of(now);
            member.is_new = false;
            member.synced = false;
        }
    }

    /// Whether there is a leader who has joined; another takes over from one who has not.
    fn elect(&mut self) -> bool {
        let joined = |member: &Member| member.joining.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(joined) {
            return true;
        }
        let next = self.members.iter().find(|(_, member)| joined(member));
        let elected = next.map(|(id, _)| id.clone());
        let found = elected.is_some();
        self.leader = elected.or_else(|| self.leader.take());
        found
    }

    fn begin_generation(&mut self, state: State) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.protocol = self.vote();
        self.state = state;
    }

    fn remove_all(&mut self, condition: impl Fn(&Member) -> bool) {
        let gone = self.members.iter().filter(|(_, member)| condition(member));
        let gone: Vec<String> = gone.map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.remove(&id);
        }
    }
}

impl Join {
    /// Bytes that the member will take, near enough for a limit.
    pub(crate) fn size(&self) -> usize {
        let protocols: usize = self.protocols.iter().map(Protocol::size).sum();
        protocols + self.client_id.len() + self.fresh_id.len() + self.protocol_type.len()
    }
}

fn refuse(reply: Reply<JoinAnswer>, why: Refusal, member_id: String) {
    // The connection may have gone.
    drop(reply.send(Err(JoinRefused { why, member_id })));
}
