//! What the tests of the machine do to a group: requests in, answers out, and the time.

use bytes::Bytes;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::group::{Group, Rules};
use super::member::{Identity, Join, JoinAnswer, Joined, Millis, Protocol, SyncAnswer};
use super::session::Sync;

/// An answer that is still to come.
pub(super) struct Pending<T>(oneshot::Receiver<T>);

impl<T> Pending<T> {
    /// The answer, once it is there.
    pub(super) fn poll(&mut self) -> Option<T> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => panic!("a request is never answered"),
        }
    }

    pub(super) fn answer(mut self) -> T {
        self.poll().expect("an answer should be there")
    }
}

pub(super) struct Driver {
    pub(super) group: Group,
    pub(super) now: Millis,
    ids: u64,
}

pub(super) const SESSION: Millis = 10_000;
pub(super) const REBALANCE: Millis = 60_000;

impl Driver {
    pub(super) fn new(initial_delay: Millis, members_max: usize) -> Self {
        let rules = Rules { initial_delay, members_max };
        Self { group: Group::new(rules, 0, None), now: 1_000_000, ids: 0 }
    }

    /// Lets time pass, as a clock does that wakes up at each deadline.
    pub(super) fn advance(&mut self, by: Millis) {
        let until = self.now + by;
        while let Some(due) = self.group.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.group.tick(self.now);
        }
        self.now = until;
    }

    /// A request to join of a consumer that supports "range" and then "sticky".
    pub(super) fn request(&mut self, member_id: &str, instance: Option<&str>) -> Join {
        self.ids += 1;
        let protocol = |name: &str| Protocol {
            name: name.to_owned(),
            metadata: Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"),
        };
        Join {
            member_id: member_id.to_owned(),
            instance: instance.map(str::to_owned),
            client_id: "client".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            protocol_type: "consumer".to_owned(),
            protocols: vec![protocol("range"), protocol("sticky")],
            fresh_id: format!("id-{:03}", self.ids),
            joins_twice: false,
            skips_assignment: false,
        }
    }

    pub(super) fn send(&mut self, join: Join) -> Pending<JoinAnswer> {
        let (reply, answer) = oneshot::channel();
        self.group.join(self.now, join, reply);
        Pending(answer)
    }

    pub(super) fn join(&mut self, member_id: &str) -> Pending<JoinAnswer> {
        let request = self.request(member_id, None);
        self.send(request)
    }

    pub(super) fn join_static(&mut self, member_id: &str, instance: &str) -> Pending<JoinAnswer> {
        let request = self.request(member_id, Some(instance));
        self.send(request)
    }

    pub(super) fn sync(
        &mut self,
        member_id: &str,
        generation: i32,
        assignments: &[(&str, &'static str)],
    ) -> Pending<SyncAnswer> {
        let assigned =
            |(id, what): &(&str, &'static str)| ((*id).to_owned(), what.as_bytes().to_vec());
        let assignments = assignments.iter().map(assigned).collect();
        self.sync_as(dynamic(member_id), generation, assignments)
    }

    pub(super) fn sync_as(
        &mut self,
        identity: Identity,
        generation: i32,
        assignments: Vec<(String, Vec<u8>)>,
    ) -> Pending<SyncAnswer> {
        let (reply, answer) = oneshot::channel();
        let assigned = |(id, what): (String, Vec<u8>)| (id, Bytes::from(what));
        let sync = Sync {
            identity,
            generation,
            protocol_type: None,
            protocol: None,
            assignments: assignments.into_iter().map(assigned).collect(),
        };
        self.group.sync(self.now, sync, reply);
        Pending(answer)
    }

    /// A stable group of as many members as `N`, the first of which leads.
    pub(super) fn stable<const N: usize>(&mut self) -> [Joined; N] {
        let joins: [_; N] = std::array::from_fn(|_| self.join(""));
        self.advance(self.group.rules.initial_delay * 2);
        let joined = joins.map(|join| join.answer().unwrap());
        let syncs = joined.each_ref().map(|it| self.sync(&it.member_id, it.generation, &[]));
        syncs.into_iter().for_each(|sync| drop(sync.answer().unwrap()));
        assert_eq!(self.group.state_name(), "Stable");
        joined
    }
}

pub(super) fn dynamic(member_id: &str) -> Identity {
    Identity { member_id: member_id.to_owned(), instance: None }
}

pub(super) fn fixed(member_id: &str, instance: &str) -> Identity {
    Identity { member_id: member_id.to_owned(), instance: Some(instance.to_owned()) }
}
