//! Every message in every version, next to the crate kafka-protocol.
//!
//! Values are drawn at random, with fields that a version does not have: those are left out, and
//! the other codec finds in the bytes what it expects. What it writes again is the same bytes, and
//! each of our values has its name there.

use std::collections::HashMap;
use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};

use super::alter_configs::{AlterConfigsRequest, AlterConfigsResponse};
use super::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use super::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse};
use super::create_topics::{CreateTopicsRequest, CreateTopicsResponse};
use super::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};
use super::delete_records::{DeleteRecordsRequest, DeleteRecordsResponse};
use super::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use super::describe_acls::{DescribeAclsRequest, DescribeAclsResponse};
use super::describe_cluster::{DescribeClusterRequest, DescribeClusterResponse};
use super::describe_configs::{DescribeConfigsRequest, DescribeConfigsResponse};
use super::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};
use super::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use super::describe_producers::{DescribeProducersRequest, DescribeProducersResponse};
use super::fetch::{FetchRequest, FetchResponse};
use super::filled::{Filled, Source};
use super::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use super::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use super::incremental_alter_configs::{
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use super::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use super::join_group::{JoinGroupRequest, JoinGroupResponse};
use super::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use super::list_groups::{ListGroupsRequest, ListGroupsResponse};
use super::list_offsets::{ListOffsetsRequest, ListOffsetsResponse};
use super::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use super::metadata::{MetadataRequest, MetadataResponse};
use super::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use super::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use super::offset_fetch::{OffsetFetchRequest, OffsetFetchResponse};
use super::offset_for_leader_epoch::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use super::produce::{ProduceRequest, ProduceResponse};
use super::sync_group::{SyncGroupRequest, SyncGroupResponse};
use super::tests::encode;
use super::{ApiKey, Message, Reader, Request};

const VALUES_A_VERSION: u64 = 50;

macro_rules! compare_all {
    ($($request:ident, $response:ident;)+) => {{
        let mut keys = Vec::new();
        $(
            for version in <$request as Request>::VERSIONS {
                compare::<$request, theirs::$request>(version);
                compare::<$response, theirs::$response>(version);
            }
            keys.push(<$request as Request>::KEY);
        )+
        keys
    }};
}

#[test]
fn every_message_is_the_same_bytes_in_another_codec() {
    let compared = compare_all! {
        ProduceRequest, ProduceResponse;
        FetchRequest, FetchResponse;
        ListOffsetsRequest, ListOffsetsResponse;
        MetadataRequest, MetadataResponse;
        OffsetCommitRequest, OffsetCommitResponse;
        OffsetFetchRequest, OffsetFetchResponse;
        FindCoordinatorRequest, FindCoordinatorResponse;
        JoinGroupRequest, JoinGroupResponse;
        HeartbeatRequest, HeartbeatResponse;
        LeaveGroupRequest, LeaveGroupResponse;
        SyncGroupRequest, SyncGroupResponse;
        DescribeGroupsRequest, DescribeGroupsResponse;
        ListGroupsRequest, ListGroupsResponse;
        ApiVersionsRequest, ApiVersionsResponse;
        CreateTopicsRequest, CreateTopicsResponse;
        DeleteTopicsRequest, DeleteTopicsResponse;
        DeleteRecordsRequest, DeleteRecordsResponse;
        InitProducerIdRequest, InitProducerIdResponse;
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
        DescribeAclsRequest, DescribeAclsResponse;
        DescribeConfigsRequest, DescribeConfigsResponse;
        AlterConfigsRequest, AlterConfigsResponse;
        DescribeLogDirsRequest, DescribeLogDirsResponse;
        CreatePartitionsRequest, CreatePartitionsResponse;
        DeleteGroupsRequest, DeleteGroupsResponse;
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
        OffsetDeleteRequest, OffsetDeleteResponse;
        DescribeClusterRequest, DescribeClusterResponse;
        DescribeProducersRequest, DescribeProducersResponse;
    };
    assert_eq!(compared, ApiKey::ALL);
}

fn compare<Ours, Theirs>(version: i16)
where
    Ours: Message + Filled + Debug,
    Theirs: Decodable + Encodable + Debug,
{
    for seed in 0..VALUES_A_VERSION {
        let ours = Ours::filled(&mut Source::new(seed));
        let context = format!("version {version}, seed {seed}: {ours:?}");
        let bytes = encode(&ours, version);
        let mut rest = bytes.clone();
        let theirs = Theirs::decode(&mut rest, version);
        let theirs = theirs.unwrap_or_else(|error| panic!("{error}: {context}"));
        assert!(rest.is_empty(), "{} bytes are left: {context}", rest.len());
        let mut again = BytesMut::new();
        theirs.encode(&mut again, version).unwrap_or_else(|error| panic!("{error}: {context}"));
        assert_eq!(bytes, again, "{context}");
        let read = read_whole::<Ours>(&bytes, version);
        assert_eq!(encode(&read, version), bytes, "{context}");
        has_all(&scalars(&format!("{theirs:?}")), &scalars(&format!("{read:?}")), &context);
    }
}

fn read_whole<M: Message>(bytes: &Bytes, version: i16) -> M {
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, version).expect("a message that was written");
    assert_eq!(reader.left(), 0);
    message
}

type Scalars<'a> = HashMap<(&'a str, &'a str), usize>;

/// How many times a number, string or boolean has a name in a value that is printed.
fn scalars(text: &str) -> Scalars<'_> {
    let (mut scalars, mut name) = (Scalars::new(), "");
    for word in text.split([' ', ',', '(', ')', '[', ']', '{', '}']) {
        let is_scalar = word.starts_with(|first: char| "-\"tf".contains(first))
            || word.starts_with(|first: char| first.is_ascii_digit());
        if let Some(field) = word.strip_suffix(':') {
            name = field.trim_start_matches('_');
        // Ids are printed in another way, and no message has two.
        } else if is_scalar && name != "topic_id" {
            *scalars.entry((name, word)).or_insert(0) += 1;
        }
    }
    scalars
}

/// Theirs have the fields of other versions too.
fn has_all(theirs: &Scalars<'_>, ours: &Scalars<'_>, context: &str) {
    for (scalar, count) in ours {
        let there = theirs.get(scalar).copied().unwrap_or(0);
        assert!(there >= *count, "{scalar:?} is {there} times in theirs, not {count}: {context}");
    }
}
