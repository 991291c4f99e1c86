//! The coordinator: every group's machine behind one lock, the time they go by, and the journal.
//!
//! What a request does to a group takes microseconds, so that one lock serves all workers; nothing
//! waits for a disk or a member while it is held. A commit is checked and handed to the journal
//! under the lock, so that no commit of an earlier generation is written behind one of a later.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::Refusal;
use super::entry::{Entry, TopicOffsets};
use super::group::{DescribedMember, Group, Rules};
use super::journal::{Journal, Written};
use super::journal_file::JournalError;
use super::member::{Identity, Join, JoinAnswer, JoinRefused, Millis, SyncAnswer};
use super::offsets::Offsets;
use super::roster::Roster;
use super::session::Sync;
use crate::time;
use crate::uuid::Uuid;

/// Groups that offsets are kept of.
const KEPT_GROUPS_MAX: usize = 100_000;

/// Bytes that offsets take, of all groups together.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The coordinator of all groups.
#[derive(Debug)]
pub(crate) struct Coordinator {
    shared: Arc<Shared>,
    clock: Option<JoinHandle<()>>,
}

/// What requests share with the clock.
#[derive(Debug)]
pub(super) struct Shared {
    rules: Rules,
    /// How long offsets outlive the last member.
    pub(super) retention: Duration,
    began: Instant,
    pub(super) began_ms: i64,
    pub(super) journal: Journal,
    state: Mutex<State>,
    /// The clock waits for the next alarm; this says that an earlier one has been set.
    pub(super) reset: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) roster: Roster,
    pub(super) is_closed: bool,
}

/// A group as it is described to operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<DescribedMember>,
}

/// Offsets to be committed.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) group: String,
    pub(crate) identity: Identity,
    pub(crate) generation: i32,
    pub(crate) topics: Vec<TopicOffsets>,
}

impl Coordinator {
    /// Opens the journal, and starts the clock.
    ///
    /// # Errors
    ///
    /// [`JournalError`].
    pub(crate) fn open(
        journal: &Path,
        rules: Rules,
        retention: Duration,
    ) -> Result<Self, JournalError> {
        let shared = Arc::new(Shared {
            rules,
            retention,
            began: Instant::now(),
            began_ms: time::now(),
            journal: Journal::open(journal)?,
            state: Mutex::default(),
            reset: Condvar::new(),
        });
        let clock = thread::Builder::new().name("groups".to_owned()).spawn({
            let shared = Arc::clone(&shared);
            move || shared.keep_time()
        });
        let clock = clock.map_err(|error| JournalError::Io(journal.to_owned(), error))?;
        Ok(Self { shared, clock: Some(clock) })
    }

    /// Joins a group, which is created if need be. Waits for the next generation.
    pub(crate) async fn join(&self, group: &str, join: Join) -> JoinAnswer {
        let member_id = join.member_id.clone();
        let refused = |why| Err(JoinRefused { why, member_id: member_id.clone() });
        let answer = match self.shared.join(group, join) {
            Ok(answer) => answer,
            Err(why) => return refused(why),
        };
        answer.await.unwrap_or_else(|_| refused(Refusal::Unavailable))
    }

    /// Waits for what the leader assigns.
    pub(crate) async fn sync(&self, group: &str, sync: Sync) -> SyncAnswer {
        let (reply, answer) = oneshot::channel();
        let size = sync.assignments.iter().map(|(_, assignment)| assignment.len()).sum();
        if !self.shared.lock().roster.has_room(size) {
            return Err(Refusal::GroupFull);
        }
        let act = |group: &mut Group, now| group.sync(now, sync, reply);
        self.shared.act(group, act)?;
        answer.await.unwrap_or(Err(Refusal::Unavailable))
    }

    pub(crate) fn heartbeat(
        &self,
        group: &str,
        identity: &Identity,
        generation: i32,
    ) -> Result<(), Refusal> {
        let act = |group: &mut Group, now| group.heartbeat(now, identity, generation);
        self.shared.act(group, act)?
    }

    /// What became of each who leaves.
    pub(crate) fn leave(&self, group: &str, who: &[Identity]) -> Vec<Result<(), Refusal>> {
        let act = |group: &mut Group, now| group.leave(now, who);
        let left = self.shared.act(group, act);
        left.unwrap_or_else(|why| vec![Err(why); who.len()])
    }

    /// Commits offsets. When it returns, they are on the disk.
    pub(crate) async fn commit(&self, commit: Commit) -> Result<(), Refusal> {
        let written = self.shared.commit(commit)?;
        match written {
            Some(written) => written.await.unwrap_or(Err(Refusal::Unavailable)),
            None => Ok(()),
        }
    }

    /// Looks at what has been committed.
    pub(crate) fn offsets<T>(&self, look: impl FnOnce(&Offsets) -> T) -> T {
        look(&self.shared.journal.offsets())
    }

    /// Whether offsets of a topic may be deleted, which no member may read.
    pub(crate) fn may_delete_offsets(&self, group: &str, topic: &str) -> Result<(), Refusal> {
        let state = self.shared.lock();
        state.roster.get(group).map_or(Ok(()), |group| group.deletes_offsets_of(topic))
    }

    /// Deletes offsets of a group.
    pub(crate) async fn delete_offsets(
        &self,
        group: &str,
        topics: Vec<(String, Vec<i32>)>,
    ) -> Result<(), Refusal> {
        self.submit(Entry::Forget { group: group.to_owned(), topics }).await
    }

    /// Deletes the offsets that all groups have for a topic, which is deleted.
    ///
    /// Nothing waits for it: if it is lost, they are of a topic with another id, and not given out.
    pub(crate) fn delete_topic(&self, topic: &str, id: Uuid) {
        drop(self.shared.journal.submit(Entry::DeleteTopic { topic: topic.to_owned(), id }));
    }

    /// Deletes a group without members, and its offsets.
    pub(crate) async fn delete(&self, group: &str) -> Result<(), Refusal> {
        let written = {
            let mut state = self.shared.lock();
            let is_kept = self.shared.journal.offsets().group(group).is_some();
            match state.roster.get(group).map(Group::is_empty) {
                Some(false) => return Err(Refusal::NonEmptyGroup),
                None if !is_kept => return Err(Refusal::UnknownGroup),
                Some(true) | None => {}
            }
            state.roster.remove(group);
            self.shared.journal.submit(Entry::DeleteGroup { group: group.to_owned() })
        };
        written.await.unwrap_or(Err(Refusal::Unavailable))
    }

    async fn submit(&self, entry: Entry) -> Result<(), Refusal> {
        let written = self.shared.journal.submit(entry);
        written.await.unwrap_or(Err(Refusal::Unavailable))
    }

    /// Describes a group; `None` if there is none of that name.
    pub(crate) fn describe(&self, name: &str) -> Option<Description> {
        let state = self.shared.lock();
        if let Some(group) = state.roster.get(name) {
            return Some(Description::of(group));
        }
        let offsets = self.shared.journal.offsets();
        let last = offsets.group(name)?.generation.as_ref();
        Some(Description {
            state: EMPTY,
            protocol_type: last.map_or_else(String::new, |last| last.protocol_type.clone()),
            protocol: String::new(),
            members: Vec::new(),
        })
    }

    /// All groups: name, type of protocol, state.
    pub(crate) fn list(&self) -> Vec<(String, String, &'static str)> {
        let state = self.shared.lock();
        let offsets = self.shared.journal.offsets();
        let with_members = state.roster.iter().map(|(name, group)| {
            let protocol_type = group.protocol_type().unwrap_or_default();
            (name.to_owned(), protocol_type.to_owned(), group.state_name())
        });
        let without = offsets.groups().filter(|(name, _)| state.roster.get(name).is_none());
        let without = without.map(|(name, group)| {
            let last = group.generation.as_ref();
            let protocol_type = last.map_or_else(String::new, |last| last.protocol_type.clone());
            (name.to_owned(), protocol_type, EMPTY)
        });
        let mut listed: Vec<_> = with_members.chain(without).collect();
        listed.sort_unstable();
        listed
    }

    /// Answers those who wait for members that will not come any more: the server is to end.
    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        state.roster = Roster::default();
        self.shared.reset.notify_all();
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.close();
        if self.clock.take().is_some_and(|clock| clock.join().is_err()) {
            tracing::error!("the thread that watches over sessions of groups panicked");
        }
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Millis {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    fn join(&self, name: &str, join: Join) -> Result<oneshot::Receiver<JoinAnswer>, Refusal> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Unavailable);
        }
        // A member that has a name has it from a group, which is there as long as the member.
        let is_known = join.member_id.is_empty() || state.roster.get(name).is_some();
        let last = || self.journal.offsets().group(name)?.generation.clone();
        if !is_known {
            return Err(Refusal::UnknownMember);
        }
        if !state.roster.has_room(join.size()) || !state.roster.ensure(name, self.rules, last) {
            return Err(Refusal::GroupFull);
        }
        self.act_in(&mut state, name, |group, now| group.join(now, join, reply));
        Ok(answer)
    }

    /// Does something to a group that members are in.
    fn act<T>(&self, name: &str, act: impl FnOnce(&mut Group, Millis) -> T) -> Result<T, Refusal> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Unavailable);
        }
        self.act_in(&mut state, name, act).ok_or(Refusal::UnknownMember)
    }

    pub(super) fn act_in<T>(
        &self,
        state: &mut State,
        name: &str,
        act: impl FnOnce(&mut Group, Millis) -> T,
    ) -> Option<T> {
        let (now, alarm) = (self.now(), state.roster.next_alarm());
        let acted = state.roster.act(name, time::now(), |group| act(group, now))?;
        if let Some(entry) = acted.entry {
            // Nothing waits for it: a generation that is lost in a crash has lost its members too.
            drop(self.journal.submit(entry));
        }
        if state.roster.next_alarm().is_some_and(|next| alarm.is_none_or(|alarm| next < alarm)) {
            self.reset.notify_all();
        }
        Some(acted.result)
    }

    fn commit(&self, commit: Commit) -> Result<Option<Written>, Refusal> {
        let Commit { group, identity, generation, topics } = commit;
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refusal::Unavailable);
        }
        let act = |group: &mut Group, now| group.commit(now, &identity, generation);
        match self.act_in(&mut state, &group, act) {
            Some(answer) => answer?,
            None if generation >= 0 => return Err(Refusal::IllegalGeneration),
            None => {}
        }
        if topics.is_empty() {
            return Ok(None);
        }
        {
            let offsets = self.journal.offsets();
            let is_new = offsets.group(&group).is_none();
            let is_full = is_new && offsets.group_count() >= KEPT_GROUPS_MAX;
            if is_full || offsets.bytes() >= KEPT_BYTES_MAX {
                return Err(Refusal::TooMuchKept);
            }
        }
        Ok(Some(self.journal.submit(Entry::Commit { group, time: time::now(), topics })))
    }
}

impl Description {
    fn of(group: &Group) -> Self {
        Self {
            state: group.state_name(),
            protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
            protocol: group.protocol().unwrap_or_default().to_owned(),
            members: group.describe(),
        }
    }
}

/// The state of a group without members.
const EMPTY: &str = "Empty";
