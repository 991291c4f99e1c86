//! DescribeCluster, and what Java's tools ask of a cluster in passing: directories, partitions that
//! are moving, rules. There is one broker, nothing moves, and everybody may do everything.

use std::sync::Arc;

use crate::connection::Connection;
use crate::partition::Partition;
use crate::server::Shared;
use crate::topics::Topics;
use crate::wire::ErrorCode;
use crate::wire::describe_acls::DescribeAclsResponse;
use crate::wire::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::wire::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use super::metadata::{CLUSTER_OPERATIONS, NOT_ASKED, address};

/// Asks for brokers, and not for controllers.
const BROKERS: i8 = 1;

pub(super) fn describe(
    connection: &Connection,
    request: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    let shared = &connection.worker.shared;
    let response = DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: shared.topics.cluster_id().to_string(),
        ..DescribeClusterResponse::default()
    };
    if request.endpoint_type != BROKERS {
        let error_message = Some("this is a broker, and is asked for brokers".to_owned());
        let error_code = ErrorCode::MismatchedEndpointType;
        return DescribeClusterResponse { error_code, error_message, ..response };
    }
    let (host, port) = address(connection);
    let is_asked = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        controller_id: shared.node_id,
        brokers: vec![DescribeClusterBroker { broker_id: shared.node_id, host, port, rack: None }],
        cluster_authorized_operations: if is_asked { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..response
    }
}

/// No rules are kept, and that is not the same as none.
pub(super) fn describe_acls() -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled,
        error_message: Some("no rules are kept here: everybody may do everything".to_owned()),
        ..DescribeAclsResponse::default()
    }
}

/// How many bytes partitions have. Asks the file system, which may wait for a disk.
pub(super) fn describe_log_dirs(
    shared: &Shared,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    let topics = &shared.topics;
    let described = match request.topics {
        None => topics
            .list()
            .iter()
            .map(|topic| of_partitions(topic.name(), topic.partitions()))
            .collect(),
        Some(wanted) => {
            wanted.into_iter().filter_map(|wanted| of_wanted(topics, &wanted)).collect()
        }
    };
    let (total_bytes, usable_bytes) = space(topics);
    let result = DescribeLogDirsResult {
        error_code: ErrorCode::None,
        log_dir: topics.path().display().to_string(),
        topics: described,
        total_bytes,
        usable_bytes,
    };
    DescribeLogDirsResponse { results: vec![result], ..DescribeLogDirsResponse::default() }
}

/// What there is of the partitions that were asked for.
fn of_wanted(topics: &Topics, wanted: &DescribableLogDirTopic) -> Option<DescribeLogDirsTopic> {
    let topic = topics.get(&wanted.topic)?;
    let mut indexes = wanted.partitions.clone();
    indexes.sort_unstable();
    indexes.dedup();
    let partitions = indexes.iter().filter_map(|index| topic.partition(*index));
    Some(of_partitions(topic.name(), partitions))
}

fn of_partitions<'p>(
    name: &str,
    partitions: impl IntoIterator<Item = &'p Arc<Partition>>,
) -> DescribeLogDirsTopic {
    let partitions = partitions.into_iter().map(|partition| DescribeLogDirsPartition {
        partition_index: partition.index(),
        partition_size: i64::try_from(partition.reader().bytes()).unwrap_or(i64::MAX),
        ..DescribeLogDirsPartition::default()
    });
    DescribeLogDirsTopic { name: name.to_owned(), partitions: partitions.collect() }
}

/// Bytes of the file system, and those that are left; -1 if it does not say.
fn space(topics: &Topics) -> (i64, i64) {
    let Ok(found) = rustix::fs::statvfs(topics.path()) else { return (-1, -1) };
    let bytes =
        |blocks: u64| i64::try_from(blocks.saturating_mul(found.f_frsize)).unwrap_or(i64::MAX);
    (bytes(found.f_blocks), bytes(found.f_bavail))
}
