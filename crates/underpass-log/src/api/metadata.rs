//! Metadata: which topics there are, and where to send what is for them.
//!
//! There is one broker, so it leads everything. What it is called is the client's way to it: the
//! address that was advertised, or the one that the client has reached.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::task::spawn_blocking;

use crate::chain::Chain;
use crate::connection::Connection;
use crate::partition::{Partition, Status};
use crate::server::Shared;
use crate::topics::config::Overrides;
use crate::topics::{Topic, TopicFault};
use crate::wire::ErrorCode;
use crate::wire::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

/// What may be done with a topic where everything is allowed: read, write, create, delete,
/// alter, describe, and the latter two of its settings; a bit each, by Kafka's `AclOperation`.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// The same of the cluster: create, alter, describe, cluster action, describe and alter settings,
/// idempotent write.
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// Stands for "you did not ask".
pub(super) const NOT_ASKED: i32 = i32::MIN;

/// Stands for "no broker".
const NO_LEADER: i32 = -1;

pub(super) async fn handle(
    connection: &Connection,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let shared = &connection.worker.shared;
    // Version 0 has no null, and no names are all topics.
    let names = request.topics.filter(|names| version > 0 || !names.is_empty());
    let with_operations = request.include_topic_authorized_operations;
    let mut topics = Vec::new();
    match names {
        None => topics.extend(shared.topics.list().iter().map(|topic| described(shared, topic))),
        Some(names) => {
            // A name that is there a thousand times is answered once.
            let mut seen = HashSet::new();
            for name in names.into_iter().map(|topic| topic.name) {
                if seen.insert(name.clone()) {
                    topics.push(named(shared, name, request.allow_auto_topic_creation).await);
                }
            }
        }
    }
    for topic in topics.iter_mut().filter(|topic| with_operations && !topic.error_code.is_error()) {
        topic.topic_authorized_operations = TOPIC_OPERATIONS;
    }
    let with_cluster = request.include_cluster_authorized_operations;
    let (host, port) = address(connection);
    MetadataResponse {
        brokers: vec![MetadataResponseBroker { node_id: shared.node_id, host, port, rack: None }],
        cluster_id: Some(shared.topics.cluster_id().to_string()),
        controller_id: shared.node_id,
        topics,
        cluster_authorized_operations: if with_cluster { CLUSTER_OPERATIONS } else { NOT_ASKED },
        ..MetadataResponse::default()
    }
}

/// Where this client is to connect to.
pub(super) fn address(connection: &Connection) -> (String, i32) {
    if let Some(advertised) = &connection.worker.shared.advertised {
        return (advertised.host().to_owned(), advertised.port().into());
    }
    match connection.local_address() {
        // An IPv4 client of a socket for both families has reached an IPv4 address.
        Some(address) => (address.ip().to_canonical().to_string(), address.port().into()),
        None => ("localhost".to_owned(), 0),
    }
}

/// A topic that was asked for by name, which may make it.
async fn named(shared: &Arc<Shared>, name: String, may_create: bool) -> MetadataResponseTopic {
    let found = match shared.topics.get(&name) {
        Some(topic) => Ok(topic),
        None if may_create && shared.auto_create => create(shared, name.clone()).await,
        None => Err(crate::topics::check_name(&name).unwrap_or(ErrorCode::UnknownTopicOrPartition)),
    };
    match found {
        Ok(topic) => described(shared, &topic),
        Err(error_code) => {
            MetadataResponseTopic { error_code, name, ..MetadataResponseTopic::default() }
        }
    }
}

async fn create(shared: &Arc<Shared>, name: String) -> Result<Arc<Topic>, ErrorCode> {
    let shared = Arc::clone(shared);
    let created = spawn_blocking(move || {
        match shared.topics.create(&name, shared.partitions, Overrides::new()) {
            // Another connection was faster.
            Err(TopicFault::Exists(_)) => {
                shared.topics.get(&name).ok_or(ErrorCode::UnknownTopicOrPartition)
            }
            Err(fault) => {
                tracing::warn!("topic '{name}' is not created: {}", Chain(&fault));
                Err(fault.code())
            }
            Ok(topic) => Ok(topic),
        }
    });
    // The runtime is shutting down, or a bug has said so.
    created.await.unwrap_or(Err(ErrorCode::UnknownServerError))
}

fn described(shared: &Shared, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions().iter();
    MetadataResponseTopic {
        name: topic.name().to_string(),
        partitions: partitions.map(|partition| described_partition(shared, partition)).collect(),
        ..MetadataResponseTopic::default()
    }
}

fn described_partition(shared: &Shared, partition: &Partition) -> MetadataResponsePartition {
    let is_online = partition.status() == Status::Online;
    let (here, nowhere) = (vec![shared.node_id], Vec::new());
    let (isr_nodes, offline_replicas) = if is_online { (here, nowhere) } else { (nowhere, here) };
    MetadataResponsePartition {
        error_code: if is_online { ErrorCode::None } else { ErrorCode::LeaderNotAvailable },
        partition_index: partition.index(),
        leader_id: if is_online { shared.node_id } else { NO_LEADER },
        leader_epoch: partition.reader().epoch(),
        replica_nodes: vec![shared.node_id],
        isr_nodes,
        offline_replicas,
    }
}
