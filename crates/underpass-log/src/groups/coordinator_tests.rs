//! Tests of the coordinator: with its threads, its clock and its file.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::Refusal;
use super::coordinator::{Commit, Coordinator};
use super::driver::dynamic;
use super::entry::{Committed, TopicOffsets};
use super::group::Rules;
use super::member::{Join, Joined, Protocol};
use super::session::Sync;
use crate::uuid::Uuid;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

fn open(dir: &Path, initial_delay: u64) -> Coordinator {
    let rules = Rules { initial_delay, members_max: 10 };
    Coordinator::open(&dir.join("group-offsets.log"), rules, WEEK).unwrap()
}

fn join(member_id: &str, fresh_id: &str) -> Join {
    Join {
        member_id: member_id.to_owned(),
        instance: None,
        client_id: "client".to_owned(),
        client_host: "/127.0.0.1".to_owned(),
        session_timeout: 60_000,
        rebalance_timeout: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![Protocol { name: "range".to_owned(), metadata: Bytes::new() }],
        fresh_id: fresh_id.to_owned(),
        joins_twice: false,
        skips_assignment: false,
    }
}

fn sync(joined: &Joined) -> Sync {
    Sync {
        identity: dynamic(&joined.member_id),
        generation: joined.generation,
        protocol_type: None,
        protocol: None,
        assignments: vec![(joined.member_id.clone(), Bytes::from_static(b"all"))],
    }
}

fn commit(member_id: &str, generation: i32, partition: i32, offset: i64) -> Commit {
    let committed = Committed { offset, leader_epoch: 5, metadata: "note".to_owned() };
    let partitions = vec![(partition, committed)];
    let topic = TopicOffsets { name: "t".to_owned(), id: Uuid([1; 16]), partitions };
    let identity = dynamic(member_id);
    Commit { group: "g".to_owned(), identity, generation, topics: vec![topic] }
}

fn offset(coordinator: &Coordinator, partition: i32) -> Option<i64> {
    coordinator.offsets(|offsets| {
        let kept = offsets.group("g")?.topics.get("t")?.get(&partition)?;
        Some(kept.committed.offset)
    })
}

#[tokio::test]
async fn members_join_commit_and_find_their_offsets_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 0);
    let joined = coordinator.join("g", join("", "a")).await.unwrap();
    let synced = coordinator.sync("g", sync(&joined)).await.unwrap();
    assert_eq!((joined.generation, &*synced.assignment), (1, &b"all"[..]));
    assert_eq!(coordinator.heartbeat("g", &dynamic("a"), 1), Ok(()));
    coordinator.commit(commit("a", 1, 0, 42)).await.unwrap();
    let fenced = coordinator.commit(commit("a", 0, 0, 43)).await;
    assert_eq!(fenced, Err(Refusal::IllegalGeneration));
    let stranger = coordinator.commit(commit("", -1, 0, 44)).await;
    assert_eq!(stranger, Err(Refusal::UnknownMember));
    drop(coordinator);

    let coordinator = open(dir.path(), 0);
    let kept = coordinator.offsets(|offsets| offsets.group("g").unwrap().topics["t"][&0].clone());
    let expected = Committed { offset: 42, leader_epoch: 5, metadata: "note".to_owned() };
    assert_eq!((kept.committed, kept.topic_id), (expected, Uuid([1; 16])));
    // Its members have to join again, and a generation is not given twice.
    let heard = coordinator.heartbeat("g", &dynamic("a"), 1);
    assert_eq!(heard, Err(Refusal::UnknownMember));
    let late = coordinator.commit(commit("a", 1, 0, 43)).await;
    assert_eq!(late, Err(Refusal::IllegalGeneration));
    assert_eq!(coordinator.join("g", join("", "b")).await.unwrap().generation, 2);
}

#[tokio::test]
async fn the_clock_ends_a_rebalance_that_nothing_else_would_end() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 50);
    let (a, b) =
        tokio::join!(coordinator.join("g", join("", "a")), coordinator.join("g", join("", "b")));
    assert_eq!((a.unwrap().generation, b.unwrap().generation), (1, 1));
}

#[tokio::test]
async fn those_who_wait_for_members_are_answered_when_the_server_ends() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 3_600_000);
    let (answer, ()) = tokio::join!(biased; coordinator.join("g", join("", "a")), async {
        coordinator.close();
    });
    assert_eq!(answer.unwrap_err().why, Refusal::Unavailable);
    let heard = coordinator.heartbeat("g", &dynamic("a"), 1);
    assert_eq!(heard, Err(Refusal::Unavailable));
    let late = coordinator.join("g", join("", "b")).await;
    assert_eq!(late.unwrap_err().why, Refusal::Unavailable);
}

#[tokio::test]
async fn a_group_is_deleted_with_its_offsets_once_its_members_have_left() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 0);
    assert_eq!(coordinator.delete("g").await, Err(Refusal::UnknownGroup));
    coordinator.commit(commit("", -1, 0, 7)).await.unwrap();
    let joined = coordinator.join("g", join("", "a")).await.unwrap();
    assert_eq!(coordinator.delete("g").await, Err(Refusal::NonEmptyGroup));
    assert_eq!(coordinator.leave("g", &[dynamic(&joined.member_id)]), [Ok(())]);
    assert_eq!(coordinator.describe("g").unwrap().state, "Empty");
    assert_eq!(coordinator.delete("g").await, Ok(()));
    assert!(coordinator.describe("g").is_none() && coordinator.list().is_empty());
    drop(coordinator);
    assert!(open(dir.path(), 0).list().is_empty());
}

#[tokio::test]
async fn groups_are_listed_with_and_without_members() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 0);
    coordinator.commit(commit("", -1, 0, 7)).await.unwrap();
    coordinator.join("a", join("", "a")).await.unwrap();
    let named = |name: &str, kind: &str, state| (name.to_owned(), kind.to_owned(), state);
    let listed = [named("a", "consumer", "CompletingRebalance"), named("g", "", "Empty")];
    assert_eq!(coordinator.list(), listed);
}

#[tokio::test]
async fn a_group_that_no_one_could_join_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 0);
    let mut request = join("", "a");
    request.protocols.clear();
    let refused = coordinator.join("g", request).await.unwrap_err();
    assert_eq!(refused.why, Refusal::InconsistentProtocol);
    let unknown = coordinator.join("h", join("made up", "b")).await.unwrap_err();
    assert_eq!((unknown.why, &*unknown.member_id), (Refusal::UnknownMember, "made up"));
    assert!(coordinator.list().is_empty());
}

#[tokio::test]
async fn members_that_say_more_than_is_kept_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 0);
    let mut request = join("", "a");
    request.protocols[0].metadata = Bytes::from(vec![0; super::roster::BYTES_MAX]);
    let refused = coordinator.join("g", request).await.unwrap_err();
    assert_eq!(refused.why, Refusal::GroupFull);
}

#[tokio::test]
async fn commits_at_the_same_time_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path(), 0);
    for offset in 0..100 {
        coordinator.commit(commit("", -1, 0, offset)).await.unwrap();
    }
    assert_eq!(offset(&coordinator, 0), Some(99));
    let both = tokio::join!(
        coordinator.commit(commit("", -1, 0, 100)),
        coordinator.commit(commit("", -1, 1, 200))
    );
    assert_eq!(both, (Ok(()), Ok(())));
    assert_eq!((offset(&coordinator, 0), offset(&coordinator, 1)), (Some(100), Some(200)));
}
