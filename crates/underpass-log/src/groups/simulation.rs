//! Consumers that join, stall, crash and come back in any order, on one clock, and what must hold
//! whatever they do.
//!
//! - A partition has one owner a generation.
//! - Who has been told that it is not a member any more never commits, and no one commits for a
//!   generation older than one that somebody has been told of.
//! - Every request is answered, and time does not stand still.
//! - Once faults stop, all consumers are members of one generation, and all partitions are read.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::Refusal;
use super::driver::{Driver, Pending};
use super::member::{Identity, Join, JoinAnswer, Joined, SyncAnswer};

/// Fewer than members at times, whom the leader then leaves out.
const PARTITIONS: u8 = 4;

/// What one consumer waits for.
enum Waits {
    Nothing,
    Join(Pending<JoinAnswer>),
    Sync(Pending<SyncAnswer>),
}

struct Consumer {
    instance: Option<String>,
    joins_twice: bool,
    member_id: String,
    generation: i32,
    /// The partitions it reads, if it is settled.
    reads: Option<Vec<u8>>,
    waits: Waits,
    /// Who it was before it crashed.
    zombies: Vec<(Identity, i32)>,
}

#[derive(Debug, Clone, Copy)]
enum Op {
    /// The consumer does what a consumer does next.
    Step(usize),
    Commit(usize),
    /// What it was before it crashed commits.
    Haunt(usize),
    Leave(usize),
    Crash(usize),
    /// It sends its request to join once more.
    Repeat(usize),
    Wait(u64),
}

struct World {
    driver: Driver,
    consumers: Vec<Consumer>,
    owners: BTreeMap<(i32, u8), String>,
    gone: BTreeSet<String>,
    latest: i32,
}

impl Consumer {
    fn new(number: usize) -> Self {
        Self {
            instance: number.is_multiple_of(3).then(|| format!("instance-{number}")),
            joins_twice: number.is_multiple_of(2),
            member_id: String::new(),
            generation: -1,
            reads: None,
            waits: Waits::Nothing,
            zombies: Vec::new(),
        }
    }

    fn identity(&self) -> Identity {
        Identity { member_id: self.member_id.clone(), instance: self.instance.clone() }
    }

    fn forget(&mut self, why: Refusal) -> Option<String> {
        self.reads = None;
        self.generation = -1;
        let gone = matches!(why, Refusal::UnknownMember | Refusal::FencedInstance);
        gone.then(|| std::mem::take(&mut self.member_id)).filter(|id| !id.is_empty())
    }
}

impl World {
    fn new(count: usize, initial_delay: u64) -> Self {
        Self {
            driver: Driver::new(initial_delay, 100),
            consumers: (0..count).map(Consumer::new).collect(),
            owners: BTreeMap::new(),
            gone: BTreeSet::new(),
            latest: 0,
        }
    }

    fn apply(&mut self, op: Op) {
        let count = self.consumers.len();
        match op {
            Op::Step(who) => self.step(who % count),
            Op::Commit(who) => {
                let consumer = &self.consumers[who % count];
                self.commit(consumer.identity(), consumer.generation);
            }
            Op::Haunt(who) => {
                for (zombie, generation) in self.consumers[who % count].zombies.clone() {
                    self.commit(zombie, generation);
                }
            }
            Op::Leave(who) => self.leave(who % count),
            Op::Crash(who) => self.crash(who % count),
            Op::Repeat(who) => self.join(who % count),
            Op::Wait(time) => self.driver.advance(time),
        }
        let due = self.driver.group.next_deadline();
        assert!(due.is_none_or(|due| due > self.driver.now), "{op:?} leaves something undone");
    }

    fn step(&mut self, who: usize) {
        match std::mem::replace(&mut self.consumers[who].waits, Waits::Nothing) {
            Waits::Join(mut pending) => match pending.poll() {
                None => self.consumers[who].waits = Waits::Join(pending),
                Some(Ok(joined)) => self.has_joined(who, &joined),
                Some(Err(refused)) if refused.why == Refusal::MemberIdRequired => {
                    self.consumers[who].member_id = refused.member_id;
                }
                Some(Err(refused)) => self.refused(who, refused.why),
            },
            Waits::Sync(mut pending) => match pending.poll() {
                None => self.consumers[who].waits = Waits::Sync(pending),
                Some(Ok(synced)) => self.owns(who, synced.assignment.to_vec()),
                Some(Err(why)) => self.refused(who, why),
            },
            Waits::Nothing if self.consumers[who].reads.is_some() => self.heartbeat(who),
            Waits::Nothing => self.join(who),
        }
    }

    fn request(&mut self, who: usize) -> Join {
        let consumer = &self.consumers[who];
        let (id, instance) = (consumer.member_id.clone(), consumer.instance.clone());
        let mut join = self.driver.request(&id, instance.as_deref());
        join.joins_twice = consumer.joins_twice;
        join.skips_assignment = who % 2 == 1;
        join
    }

    fn join(&mut self, who: usize) {
        let request = self.request(who);
        self.consumers[who].reads = None;
        self.consumers[who].waits = Waits::Join(self.driver.send(request));
    }

    fn has_joined(&mut self, who: usize, joined: &Joined) {
        self.latest = self.latest.max(joined.generation);
        self.consumers[who].member_id.clone_from(&joined.member_id);
        self.consumers[who].generation = joined.generation;
        let mut shares = vec![Vec::new(); joined.members.len()];
        if !joined.skip_assignment && !joined.members.is_empty() {
            (0..PARTITIONS).for_each(|it| shares[usize::from(it) % joined.members.len()].push(it));
        }
        let members = joined.members.iter().map(|member| member.member_id.clone());
        let assignments = members.zip(shares).filter(|(_, share)| !share.is_empty()).collect();
        let identity = self.consumers[who].identity();
        let pending = self.driver.sync_as(identity, joined.generation, assignments);
        self.consumers[who].waits = Waits::Sync(pending);
    }

    fn owns(&mut self, who: usize, partitions: Vec<u8>) {
        let consumer = &mut self.consumers[who];
        let name = consumer.instance.as_ref().unwrap_or(&consumer.member_id);
        for &partition in &partitions {
            let owner = self.owners.entry((consumer.generation, partition));
            let owner = owner.or_insert_with(|| name.clone());
            assert_eq!(owner, name, "{partition} has two owners in {}", consumer.generation);
        }
        consumer.reads = Some(partitions);
    }

    fn heartbeat(&mut self, who: usize) {
        let (identity, generation) =
            (self.consumers[who].identity(), self.consumers[who].generation);
        let heard = self.driver.group.heartbeat(self.driver.now, &identity, generation);
        if let Err(why) = heard {
            self.refused(who, why);
        } else {
            assert!(!self.gone.contains(&identity.member_id), "{identity:?} is heard again");
        }
    }

    fn refused(&mut self, who: usize, why: Refusal) {
        self.gone.extend(self.consumers[who].forget(why));
    }

    fn commit(&mut self, identity: Identity, generation: i32) {
        let answer = self.driver.group.commit(self.driver.now, &identity, generation);
        // Without a generation it is like a tool, which may commit while there are no members.
        if generation < 0 {
            assert!(answer.is_err() || self.driver.group.is_empty());
        } else if answer.is_ok() {
            assert!(generation >= self.latest, "{identity:?} commits for {generation}");
            assert!(!self.gone.contains(&identity.member_id), "{identity:?} was told to go");
        }
    }

    fn leave(&mut self, who: usize) {
        let identity = self.consumers[who].identity();
        if self.driver.group.leave(self.driver.now, &[identity])[0].is_ok() {
            let left = self.consumers[who].forget(Refusal::UnknownMember);
            self.gone.extend(left);
            self.consumers[who].waits = Waits::Nothing;
        }
    }

    fn crash(&mut self, who: usize) {
        let consumer = &mut self.consumers[who];
        consumer.zombies.push((consumer.identity(), consumer.generation));
        consumer.member_id.clear();
        consumer.reads = None;
        consumer.generation = -1;
        consumer.waits = Waits::Nothing;
    }

    /// All do as they should, for longer than any timeout.
    fn settle(&mut self) {
        for _ in 0..400 {
            for who in 0..self.consumers.len() {
                self.apply(Op::Step(who));
            }
            self.apply(Op::Wait(1_000));
        }
        let read: BTreeSet<u8> =
            self.consumers.iter().flat_map(|it| it.reads.clone().unwrap_or_default()).collect();
        assert_eq!(read.len(), usize::from(PARTITIONS), "not all partitions are read");
        let generation = self.driver.group.generation();
        assert!(self.consumers.iter().all(|it| it.generation == generation && it.reads.is_some()));
        assert_eq!(self.driver.group.describe().len(), self.consumers.len());
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..6usize).prop_map(Op::Step),
        3 => (0..6usize).prop_map(Op::Commit),
        2 => (0..6usize).prop_map(Op::Haunt),
        1 => (0..6usize).prop_map(Op::Leave),
        1 => (0..6usize).prop_map(Op::Crash),
        1 => (0..6usize).prop_map(Op::Repeat),
        4 => (0..4_000u64).prop_map(Op::Wait),
        1 => (8_000..70_000u64).prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_consumers_do_a_partition_has_one_owner_a_generation(
        count in 1..6usize,
        delay in prop_oneof![Just(0), Just(3_000u64)],
        ops in prop::collection::vec(op(), 1..250),
    ) {
        let mut world = World::new(count, delay);
        ops.into_iter().for_each(|op| world.apply(op));
        world.settle();
    }
}
