//! The requests that are answered: their numbers, their versions, their types.
//!
//! Source: Kafka's protocol guide, "Api Keys"; `docs/log-clients.md` for what each client sends.

use std::ops::RangeInclusive;

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
use super::schema::Message;
use super::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// A message that is answered.
pub(crate) trait Request: Message {
    /// What it is in a header.
    const KEY: ApiKey;
    /// The versions that are read.
    const VERSIONS: RangeInclusive<i16> = Self::KEY.versions();
    /// What answers it.
    type Response: Message;
}

/// Is shown the type of a request of which only the key is known.
#[cfg(fuzzing)]
pub(crate) trait Visitor {
    fn visit<R: Request>(&mut self);
}

/// Stands for "no version is flexible".
const NEVER: i16 = i16::MAX;

macro_rules! keys {
    ($(
        $key:ident = $number:literal: $versions:expr, flexible $flexible:expr,
        $request:ident => $response:ident;
    )+) => {
        /// A kind of request.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(i16)]
        pub(crate) enum ApiKey {
            $($key = $number,)+
        }

        impl ApiKey {
            /// Every one that is answered.
            pub(crate) const ALL: &[Self] = &[$(Self::$key),+];

            /// The key of `number`.
            pub(crate) const fn from_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$key),)+
                    _ => None,
                }
            }

            /// The versions that are read.
            pub(crate) const fn versions(self) -> RangeInclusive<i16> {
                match self {
                    $(Self::$key => $versions,)+
                }
            }

            /// Shows its type to `visitor`.
            #[cfg(fuzzing)]
            pub(crate) fn visit(self, visitor: &mut impl Visitor) {
                match self {
                    $(Self::$key => visitor.visit::<$request>(),)+
                }
            }

            /// The first flexible version.
            pub(crate) const fn flexible_from(self) -> i16 {
                match self {
                    $(Self::$key => $flexible,)+
                }
            }
        }

        $(
            impl Message for $request {
                const FLEXIBLE_FROM: i16 = $flexible;
            }

            impl Message for $response {
                const FLEXIBLE_FROM: i16 = $flexible;
            }

            impl Request for $request {
                const KEY: ApiKey = ApiKey::$key;
                type Response = $response;
            }
        )+
    };
}

keys! {
    Produce = 0: 3..=9, flexible 9,
        ProduceRequest => ProduceResponse;
    Fetch = 1: 4..=12, flexible 12,
        FetchRequest => FetchResponse;
    ListOffsets = 2: 1..=7, flexible 6,
        ListOffsetsRequest => ListOffsetsResponse;
    Metadata = 3: 0..=9, flexible 9,
        MetadataRequest => MetadataResponse;
    OffsetCommit = 8: 2..=8, flexible 8,
        OffsetCommitRequest => OffsetCommitResponse;
    OffsetFetch = 9: 1..=8, flexible 6,
        OffsetFetchRequest => OffsetFetchResponse;
    FindCoordinator = 10: 0..=4, flexible 3,
        FindCoordinatorRequest => FindCoordinatorResponse;
    JoinGroup = 11: 0..=9, flexible 6,
        JoinGroupRequest => JoinGroupResponse;
    Heartbeat = 12: 0..=4, flexible 4,
        HeartbeatRequest => HeartbeatResponse;
    LeaveGroup = 13: 0..=5, flexible 4,
        LeaveGroupRequest => LeaveGroupResponse;
    SyncGroup = 14: 0..=5, flexible 4,
        SyncGroupRequest => SyncGroupResponse;
    DescribeGroups = 15: 0..=5, flexible 5,
        DescribeGroupsRequest => DescribeGroupsResponse;
    ListGroups = 16: 0..=4, flexible 3,
        ListGroupsRequest => ListGroupsResponse;
    ApiVersions = 18: 0..=3, flexible 3,
        ApiVersionsRequest => ApiVersionsResponse;
    CreateTopics = 19: 2..=7, flexible 5,
        CreateTopicsRequest => CreateTopicsResponse;
    DeleteTopics = 20: 1..=6, flexible 4,
        DeleteTopicsRequest => DeleteTopicsResponse;
    DeleteRecords = 21: 0..=2, flexible 2,
        DeleteRecordsRequest => DeleteRecordsResponse;
    InitProducerId = 22: 0..=4, flexible 2,
        InitProducerIdRequest => InitProducerIdResponse;
    OffsetForLeaderEpoch = 23: 2..=4, flexible 4,
        OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
    DescribeAcls = 29: 1..=3, flexible 2,
        DescribeAclsRequest => DescribeAclsResponse;
    DescribeConfigs = 32: 1..=4, flexible 4,
        DescribeConfigsRequest => DescribeConfigsResponse;
    AlterConfigs = 33: 0..=2, flexible 2,
        AlterConfigsRequest => AlterConfigsResponse;
    DescribeLogDirs = 35: 1..=4, flexible 2,
        DescribeLogDirsRequest => DescribeLogDirsResponse;
    CreatePartitions = 37: 0..=3, flexible 2,
        CreatePartitionsRequest => CreatePartitionsResponse;
    DeleteGroups = 42: 0..=2, flexible 2,
        DeleteGroupsRequest => DeleteGroupsResponse;
    IncrementalAlterConfigs = 44: 0..=1, flexible 1,
        IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
    ListPartitionReassignments = 46: 0..=0, flexible 0,
        ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse;
    OffsetDelete = 47: 0..=0, flexible NEVER,
        OffsetDeleteRequest => OffsetDeleteResponse;
    DescribeCluster = 60: 0..=1, flexible 0,
        DescribeClusterRequest => DescribeClusterResponse;
    DescribeProducers = 61: 0..=0, flexible 0,
        DescribeProducersRequest => DescribeProducersResponse;
}

impl ApiKey {
    /// What stands for it in a header.
    pub(crate) const fn number(self) -> i16 {
        self as i16
    }

    /// Whether `version` is read.
    pub(crate) fn reads(self, version: i16) -> bool {
        self.versions().contains(&version)
    }

    /// The versions that clients are told of.
    pub(crate) fn advertised(self) -> RangeInclusive<i16> {
        // KAFKA-18659: librdkafka sends gzip, lz4 and snappy uncompressed, and says nothing of it,
        // to a broker that does not claim to read version 0.
        if self == Self::Produce { 0..=*self.versions().end() } else { self.versions() }
    }

    /// The version of the header of a request.
    pub(crate) const fn request_header(self, version: i16) -> i16 {
        if version >= self.flexible_from() { 2 } else { 1 }
    }

    /// The version of the header of a response.
    pub(crate) const fn response_header(self, version: i16) -> i16 {
        // KIP-511: a client reads this response before it knows which versions a broker has.
        let is_flexible = version >= self.flexible_from() && !matches!(self, Self::ApiVersions);
        if is_flexible { 1 } else { 0 }
    }
}
