//! Tests of what is answered to members of groups, to consumers that commit, and to operators.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::{group_admin, groups, offsets};
use crate::groups::{Coordinator, Rules};
use crate::uuid::Uuid;
use crate::wire::ErrorCode;
use crate::wire::delete_groups::DeleteGroupsRequest;
use crate::wire::describe_groups::DescribeGroupsRequest;
use crate::wire::find_coordinator::FindCoordinatorRequest;
use crate::wire::heartbeat::HeartbeatRequest;
use crate::wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use crate::wire::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::wire::list_groups::ListGroupsRequest;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic,
};
use crate::wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

fn open(dir: &Path) -> Coordinator {
    let rules = Rules { initial_delay: 0, members_max: 10 };
    Coordinator::open(&dir.join("group-offsets.log"), rules, Duration::from_secs(60)).unwrap()
}

/// Topic "t" has the partitions 0 to 2, and this id.
fn id_of_t(id: u8) -> impl Fn(&str, i32) -> Option<Uuid> {
    move |name, partition| (name == "t" && (0..3).contains(&partition)).then_some(Uuid([id; 16]))
}

fn join_request() -> JoinGroupRequest {
    let metadata = Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\0\0\0\0");
    JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".to_owned(), metadata }],
        ..JoinGroupRequest::default()
    }
}

async fn join(
    coordinator: &Coordinator,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let client = groups::Client { id: "app".to_owned(), host: "/::1".to_owned() };
    groups::join(coordinator, client, request, version).await
}

/// A member that has been assigned everything.
async fn member(coordinator: &Coordinator) -> String {
    let joined = join(coordinator, join_request(), 3).await;
    let member_id = joined.member_id;
    let assignment = Bytes::from_static(b"all");
    let assigned = SyncGroupRequestAssignment { member_id: member_id.clone(), assignment };
    let request = SyncGroupRequest {
        group_id: "g".to_owned(),
        generation_id: 1,
        member_id: member_id.clone(),
        assignments: vec![assigned],
        ..SyncGroupRequest::default()
    };
    let synced = groups::sync(coordinator, request, 3).await;
    assert_eq!((synced.error_code, &*synced.assignment), (ErrorCode::None, &b"all"[..]));
    member_id
}

fn commit_request(topic: &str, partitions: &[(i32, i64, &str)]) -> OffsetCommitRequest {
    let partition = |(index, offset, metadata): &(i32, i64, &str)| OffsetCommitRequestPartition {
        partition_index: *index,
        committed_offset: *offset,
        committed_leader_epoch: 4,
        committed_metadata: Some((*metadata).to_owned()),
    };
    let partitions = partitions.iter().map(partition).collect();
    OffsetCommitRequest {
        group_id: "g".to_owned(),
        topics: vec![OffsetCommitRequestTopic { name: topic.to_owned(), partitions }],
        ..OffsetCommitRequest::default()
    }
}

/// The outcome of each partition of a commit.
async fn commit(coordinator: &Coordinator, id: u8, request: OffsetCommitRequest) -> Vec<ErrorCode> {
    let response = offsets::commit(coordinator, id_of_t(id), request).await;
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

/// Partition, offset, epoch and text of what is fetched of topic "t".
fn fetch(
    coordinator: &Coordinator,
    id: u8,
    indexes: Option<&[i32]>,
) -> Vec<(i32, i64, i32, String)> {
    let named = |indexes: &[i32]| OffsetFetchRequestTopic {
        name: "t".to_owned(),
        partition_indexes: indexes.to_vec(),
    };
    let request = OffsetFetchRequest {
        group_id: "g".to_owned(),
        topics: indexes.map(|indexes| vec![named(indexes), named(indexes)]),
        ..OffsetFetchRequest::default()
    };
    let response = offsets::fetch(coordinator, id_of_t(id), request, 7);
    assert_eq!(response.error_code, ErrorCode::None);
    let partitions = response.topics.into_iter().flat_map(|topic| topic.partitions);
    let read = partitions.map(|it| {
        assert_eq!(it.error_code, ErrorCode::None);
        (it.partition_index, it.committed_offset, it.committed_leader_epoch, it.metadata.unwrap())
    });
    read.collect()
}

fn none(partition: i32) -> (i32, i64, i32, String) {
    (partition, -1, -1, String::new())
}

#[tokio::test]
async fn offsets_come_back_with_their_epoch_and_their_text_and_others_are_minus_one() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    assert_eq!(fetch(&coordinator, 1, Some(&[0])), [none(0)]);
    let request = commit_request("t", &[(0, 12, "note"), (2, 0, "")]);
    assert_eq!(commit(&coordinator, 1, request).await, [ErrorCode::None; 2]);
    let kept = [(0, 12, 4, "note".to_owned()), (2, 0, 4, String::new())];
    assert_eq!(fetch(&coordinator, 1, None), kept);
    let asked = fetch(&coordinator, 1, Some(&[2, 1, 2]));
    assert_eq!(asked, [none(1), (2, 0, 4, String::new())]);
    // The topic has been deleted and created again.
    assert_eq!(fetch(&coordinator, 2, Some(&[0])), [none(0)]);
    assert_eq!(fetch(&coordinator, 2, None), []);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_partition_by_partition() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    let long = "x".repeat(4097);
    let request = commit_request("t", &[(0, 1, &long), (1, 1, &long[1..]), (3, 1, "")]);
    let outcomes = commit(&coordinator, 1, request).await;
    let expected =
        [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None, ErrorCode::UnknownTopicOrPartition];
    assert_eq!(outcomes, expected);
    let mut request = commit_request("t", &[(0, 1, ""), (3, 1, "")]);
    request.generation_id_or_member_epoch = 7;
    let outcomes = commit(&coordinator, 1, request).await;
    assert_eq!(outcomes, [ErrorCode::IllegalGeneration, ErrorCode::UnknownTopicOrPartition]);
    assert_eq!(fetch(&coordinator, 1, None).len(), 1);
}

#[tokio::test]
async fn several_groups_are_asked_for_at_once_and_each_is_answered_once() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    commit(&coordinator, 1, commit_request("t", &[(0, 12, "")])).await;
    let named = |name: &str| OffsetFetchRequestGroup { group_id: name.to_owned(), topics: None };
    let groups = vec![named("g"), named("h"), named("g")];
    let request = OffsetFetchRequest { groups, ..OffsetFetchRequest::default() };
    let response = offsets::fetch(&coordinator, id_of_t(1), request, 8);
    let read: Vec<_> =
        response.groups.iter().map(|it| (&*it.group_id, it.topics.len(), it.error_code)).collect();
    assert_eq!(read, [("g", 1, ErrorCode::None), ("h", 0, ErrorCode::None)]);
}

#[tokio::test]
async fn offsets_of_a_topic_that_members_read_are_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    let request = |index| OffsetDeleteRequest {
        group_id: "g".to_owned(),
        topics: vec![OffsetDeleteRequestTopic {
            name: "t".to_owned(),
            partitions: vec![OffsetDeleteRequestPartition { partition_index: index }],
        }],
    };
    let unknown = offsets::delete(&coordinator, id_of_t(1), request(0)).await;
    assert_eq!(unknown.error_code, ErrorCode::GroupIdNotFound);
    commit(&coordinator, 1, commit_request("t", &[(0, 12, ""), (1, 13, "")])).await;
    let deleted = offsets::delete(&coordinator, id_of_t(1), request(0)).await;
    assert_eq!(deleted.topics[0].partitions[0].error_code, ErrorCode::None);
    assert_eq!(fetch(&coordinator, 1, None), [(1, 13, 4, String::new())]);
    let missing = offsets::delete(&coordinator, id_of_t(1), request(9)).await;
    let outcome = missing.topics[0].partitions[0].error_code;
    assert_eq!(outcome, ErrorCode::UnknownTopicOrPartition);
    member(&coordinator).await;
    let refused = offsets::delete(&coordinator, id_of_t(1), request(1)).await;
    let outcome = refused.topics[0].partitions[0].error_code;
    assert_eq!(outcome, ErrorCode::GroupSubscribedToTopic);
}

#[tokio::test]
async fn a_member_is_given_a_name_first_from_version_4_on() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    let refused = join(&coordinator, join_request(), 4).await;
    assert_eq!(refused.error_code, ErrorCode::MemberIdRequired);
    // As Kafka: the client's name, and a UUID.
    let (name, uuid) = refused.member_id.split_at(4);
    let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
    assert_eq!((name, groups), ("app-", vec![8, 4, 4, 4, 12]));
    let (generation, leader) = (refused.generation_id, &*refused.leader);
    assert_eq!((generation, leader, refused.protocol_name.as_deref()), (-1, "", Some("")));
    let request = JoinGroupRequest { member_id: refused.member_id.clone(), ..join_request() };
    let joined = join(&coordinator, request, 4).await;
    assert_eq!((joined.error_code, joined.generation_id), (ErrorCode::None, 1));
    assert_eq!((&joined.leader, joined.members.len()), (&refused.member_id, 1));
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
}

#[tokio::test]
async fn a_join_that_makes_no_sense_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    let none =
        join(&coordinator, JoinGroupRequest { group_id: String::new(), ..join_request() }, 7);
    let none = none.await;
    assert_eq!((none.error_code, none.protocol_name), (ErrorCode::InvalidGroupId, None));
    for session_timeout_ms in [-1, 0, 5_999, 1_800_001] {
        let request = JoinGroupRequest { session_timeout_ms, ..join_request() };
        let refused = join(&coordinator, request, 2).await;
        assert_eq!(refused.error_code, ErrorCode::InvalidSessionTimeout, "{session_timeout_ms}");
    }
    assert!(coordinator.list().is_empty());
}

#[tokio::test]
async fn members_are_heard_leave_and_are_described() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    let member_id = member(&coordinator).await;
    let heartbeat = |generation_id| {
        let (group_id, member_id) = ("g".to_owned(), member_id.clone());
        let request =
            HeartbeatRequest { group_id, generation_id, member_id, group_instance_id: None };
        groups::heartbeat(&coordinator, request).error_code
    };
    assert_eq!((heartbeat(1), heartbeat(2)), (ErrorCode::None, ErrorCode::IllegalGeneration));
    let asked = ["g", "g", "nothing"].map(str::to_owned).to_vec();
    let request = DescribeGroupsRequest { groups: asked, include_authorized_operations: true };
    let described = group_admin::describe(&coordinator, request).groups;
    assert_eq!(described.len(), 2);
    let group = &described[0];
    let state = (&*group.group_state, &*group.protocol_type, &*group.protocol_data);
    assert_eq!(state, ("Stable", "consumer", "range"));
    assert_eq!(group.authorized_operations, 328);
    let seen = &group.members[0];
    assert_eq!((&*seen.client_id, &*seen.client_host), ("app", "/::1"));
    assert_eq!(seen.member_assignment, "all");
    let nothing = (&*described[1].group_state, described[1].error_code);
    assert_eq!(nothing, ("Dead", ErrorCode::None));
    let members = vec![MemberIdentity { member_id, ..MemberIdentity::default() }];
    let leave = || LeaveGroupRequest {
        group_id: "g".to_owned(),
        members: members.clone(),
        ..LeaveGroupRequest::default()
    };
    let left = |response: crate::wire::leave_group::LeaveGroupResponse| {
        (response.error_code, response.members[0].error_code)
    };
    let first = left(groups::leave(&coordinator, leave(), 3));
    assert_eq!(first, (ErrorCode::None, ErrorCode::None));
    let second = left(groups::leave(&coordinator, leave(), 3));
    assert_eq!(second, (ErrorCode::None, ErrorCode::UnknownMemberId));
}

#[tokio::test]
async fn one_member_leaves_before_version_3() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    let member_id = member(&coordinator).await;
    let request = || LeaveGroupRequest {
        group_id: "g".to_owned(),
        member_id: member_id.clone(),
        ..LeaveGroupRequest::default()
    };
    let codes = [(); 2].map(|()| groups::leave(&coordinator, request(), 2).error_code);
    assert_eq!(codes, [ErrorCode::None, ErrorCode::UnknownMemberId]);
}

#[tokio::test]
async fn groups_are_listed_by_state_and_deleted_when_they_are_empty() {
    let dir = tempfile::tempdir().unwrap();
    let coordinator = open(dir.path());
    member(&coordinator).await;
    let list = |states: &[&str]| {
        let states_filter = states.iter().map(|state| (*state).to_owned()).collect();
        let listed = group_admin::list(&coordinator, &ListGroupsRequest { states_filter });
        listed.groups.into_iter().map(|group| group.group_id).collect::<Vec<_>>()
    };
    assert_eq!(
        (list(&[]), list(&["stable", "Dead"])),
        (vec!["g".to_owned()], vec!["g".to_owned()])
    );
    assert!(list(&["Empty"]).is_empty());
    let names = ["g", "", "h"].map(str::to_owned).to_vec();
    let request = DeleteGroupsRequest { groups_names: names };
    let deleted = group_admin::delete(&coordinator, request).await;
    let codes: Vec<_> = deleted.results.iter().map(|result| result.error_code).collect();
    let expected =
        [ErrorCode::NonEmptyGroup, ErrorCode::InvalidGroupId, ErrorCode::GroupIdNotFound];
    assert_eq!(codes, expected);
}

#[test]
fn this_broker_coordinates_groups_and_no_transactions() {
    let broker = groups::Broker { node_id: 7, host: "h".to_owned(), port: 9092 };
    let request = || FindCoordinatorRequest {
        key: "g".to_owned(),
        coordinator_keys: vec!["g".to_owned(), "h".to_owned()],
        ..FindCoordinatorRequest::default()
    };
    let one = groups::find(&broker, request(), 3);
    assert_eq!((one.node_id, &*one.host, one.port), (7, "h", 9092));
    let many = groups::find(&broker, request(), 4).coordinators;
    assert_eq!((many.len(), &*many[1].key, many[1].port), (2, "h", 9092));
    let of_transactions = FindCoordinatorRequest { key_type: 1, ..request() };
    let refused = groups::find(&broker, of_transactions, 3);
    assert_eq!((refused.error_code, refused.node_id), (ErrorCode::InvalidRequest, -1));
}
