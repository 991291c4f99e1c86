//! CreateTopics, DeleteTopics, CreatePartitions.
//!
//! Each waits for the disk, on a thread that may, and is done when it is answered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::configs;
use crate::server::Shared;
use crate::topics::config::{self, Overrides};
use crate::topics::{Topic, TopicFault};
use crate::uuid::Uuid;
use crate::wire::ErrorCode;
use crate::wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};
use crate::wire::create_topics::{
    CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::wire::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

/// Leaves a number to the broker.
const DEFAULT: i32 = -1;

/// What is said of a part of a request that is not done.
struct Refused(ErrorCode, String);

impl From<TopicFault> for Refused {
    fn from(fault: TopicFault) -> Self {
        Self(fault.code(), fault.to_string())
    }
}

impl From<config::ConfigFault> for Refused {
    fn from(fault: config::ConfigFault) -> Self {
        TopicFault::from(fault).into()
    }
}

/// Makes topics. Waits for the disk.
pub(super) fn create(shared: &Shared, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let counts = counted(request.topics.iter().map(|topic| topic.name.clone()));
    let topics = request.topics.into_iter().map(|wanted| {
        let created = match counts.get(&wanted.name) {
            Some(1) => create_one(shared, &wanted, request.validate_only),
            _ => Err(twice(&wanted.name)),
        };
        created.unwrap_or_else(|Refused(error_code, message)| CreatableTopicResult {
            name: wanted.name,
            error_code,
            error_message: Some(message),
            ..CreatableTopicResult::default()
        })
    });
    CreateTopicsResponse { topics: topics.collect(), ..CreateTopicsResponse::default() }
}

fn create_one(
    shared: &Shared,
    wanted: &CreatableTopic,
    validate_only: bool,
) -> Result<CreatableTopicResult, Refused> {
    let partitions = partitions(shared, wanted)?;
    let mut overrides = Overrides::new();
    for setting in &wanted.configs {
        // Null is the default.
        if let Some(value) = &setting.value {
            overrides.extend(config::read(&setting.name, value)?);
        }
    }
    let result = CreatableTopicResult {
        name: wanted.name.clone(),
        num_partitions: partitions.cast_signed(),
        replication_factor: 1,
        ..CreatableTopicResult::default()
    };
    let configs = Some(configs::of_new_topic(shared.topics.defaults(), &overrides));
    if validate_only {
        shared.topics.check_new(&wanted.name, partitions, &overrides)?;
        return Ok(CreatableTopicResult { configs, ..result });
    }
    let topic = shared.topics.create(&wanted.name, partitions, overrides)?;
    Ok(CreatableTopicResult { topic_id: topic.id(), configs, ..result })
}

/// How many partitions a topic is to have, if they can be where they are wanted.
fn partitions(shared: &Shared, wanted: &CreatableTopic) -> Result<u32, Refused> {
    let (count, factor) = (wanted.num_partitions, i32::from(wanted.replication_factor));
    if !wanted.assignments.is_empty() {
        if count != DEFAULT || factor != DEFAULT {
            let message = "with partitions assigned to brokers, both their number and the \
                           replication factor have to be -1";
            return Err(Refused(ErrorCode::InvalidRequest, message.into()));
        }
        let mut indexes: Vec<i32> =
            wanted.assignments.iter().map(|assigned| assigned.partition_index).collect();
        indexes.sort_unstable();
        if !is_run(&indexes) {
            let message = "assigned partitions are not numbered from 0 on";
            return Err(Refused(ErrorCode::InvalidReplicaAssignment, message.into()));
        }
        for assigned in &wanted.assignments {
            check_brokers(shared, &assigned.broker_ids)?;
        }
        return Ok(u32::try_from(indexes.len()).unwrap_or(u32::MAX));
    }
    if factor != DEFAULT && factor != 1 {
        let message = format!(
            "a replication factor of {factor} cannot be met by one broker: ask for 1, or -1"
        );
        return Err(Refused(ErrorCode::InvalidReplicationFactor, message));
    }
    if count == DEFAULT {
        return Ok(shared.partitions);
    }
    u32::try_from(count).map_err(|_| TopicFault::Partitions(count.into()).into())
}

/// Whether numbers are 0, 1, 2 and so on.
fn is_run(sorted: &[i32]) -> bool {
    sorted.iter().zip(0..).all(|(index, wanted)| *index == wanted)
}

/// Whether a partition is to be on this broker alone.
fn check_brokers(shared: &Shared, brokers: &[i32]) -> Result<(), Refused> {
    if brokers == [shared.node_id] {
        return Ok(());
    }
    let message = format!("partitions can only be assigned to broker {}", shared.node_id);
    Err(Refused(ErrorCode::InvalidReplicaAssignment, message))
}

/// Deletes topics, and what groups committed for them. Waits for the disk.
pub(super) fn delete(shared: &Shared, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let named = |name| DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO };
    let wanted: Vec<_> =
        request.topics.into_iter().chain(request.topic_names.into_iter().map(named)).collect();
    let responses = wanted.into_iter().map(|wanted| {
        let DeleteTopicState { name, topic_id } = wanted.clone();
        match delete_one(shared, wanted) {
            Ok(topic) => DeletableTopicResult {
                name: Some(topic.name().to_string()),
                topic_id: topic.id(),
                ..DeletableTopicResult::default()
            },
            Err(Refused(error_code, message)) => {
                DeletableTopicResult { name, topic_id, error_code, error_message: Some(message) }
            }
        }
    });
    DeleteTopicsResponse { responses: responses.collect(), ..DeleteTopicsResponse::default() }
}

fn delete_one(shared: &Shared, wanted: DeleteTopicState) -> Result<Arc<Topic>, Refused> {
    let name = match wanted {
        DeleteTopicState { name: Some(name), topic_id: Uuid::ZERO } => name,
        DeleteTopicState { name: None, topic_id } if topic_id != Uuid::ZERO => {
            let unknown =
                || Refused(ErrorCode::UnknownTopicId, format!("no topic has id {topic_id}"));
            shared.topics.get_by_id(topic_id).ok_or_else(unknown)?.name().to_string()
        }
        DeleteTopicState { .. } => {
            let message = "a topic is named either by its name or by its id";
            return Err(Refused(ErrorCode::InvalidRequest, message.into()));
        }
    };
    let topic = shared.topics.delete(&name)?;
    shared.groups.delete_topic(topic.name(), topic.id());
    Ok(topic)
}

/// Adds partitions. Waits for the disk.
pub(super) fn grow(shared: &Shared, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let counts = counted(request.topics.iter().map(|topic| topic.name.clone()));
    let results = request.topics.into_iter().map(|wanted| {
        let grown = match counts.get(&wanted.name) {
            Some(1) => grow_one(shared, &wanted, request.validate_only),
            _ => Err(twice(&wanted.name)),
        };
        let (error_code, error_message) = match grown {
            Ok(()) => (ErrorCode::None, None),
            Err(Refused(error_code, message)) => (error_code, Some(message)),
        };
        CreatePartitionsTopicResult { name: wanted.name, error_code, error_message }
    });
    CreatePartitionsResponse { results: results.collect(), ..CreatePartitionsResponse::default() }
}

fn grow_one(
    shared: &Shared,
    wanted: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refused> {
    let CreatePartitionsTopic { name, count, assignments } = wanted;
    let fault = |_| Refused::from(TopicFault::Partitions((*count).into()));
    let count = u32::try_from(*count).map_err(fault)?;
    shared.topics.check_grow(name, count)?;
    if let Some(assignments) = assignments {
        let had = shared.topics.get(name).map_or(0, |topic| topic.partitions().len());
        if assignments.len() + had != count as usize {
            let message = "each new partition needs an assignment, and no other has one";
            return Err(Refused(ErrorCode::InvalidReplicaAssignment, message.into()));
        }
        for assigned in assignments {
            check_brokers(shared, &assigned.broker_ids)?;
        }
    }
    if !validate_only {
        shared.topics.grow(name, count)?;
    }
    Ok(())
}

/// How often each is there.
pub(super) fn counted<T: Hash + Eq>(all: impl Iterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts
}

fn twice(name: &str) -> Refused {
    Refused(ErrorCode::InvalidRequest, format!("topic '{name}' is there more than once"))
}
