//! Consumer groups: their members, their generations, their offsets.

mod clock;
mod coordinator;
#[cfg(test)]
mod coordinator_tests;
#[cfg(test)]
mod driver;
mod entry;
mod expiry;
mod group;
mod join;
mod journal;
mod journal_file;
mod member;
mod offsets;
mod refusal;
mod roster;
mod session;
#[cfg(test)]
mod simulation;
mod subscription;
#[cfg(test)]
mod tests;

pub(crate) use coordinator::{Commit, Coordinator, Description};
#[cfg(test)]
pub(crate) use entry::Entry;
pub(crate) use entry::{Committed, TopicOffsets};
pub(crate) use group::{DescribedMember, Rules};
pub(crate) use journal_file::JournalError;
pub(crate) use member::{Identity, Join, JoinAnswer, JoinedMember, Millis, Protocol};
pub(crate) use offsets::{GroupOffsets, Kept, Offsets};
pub(crate) use refusal::Refusal;
pub(crate) use session::Sync;
