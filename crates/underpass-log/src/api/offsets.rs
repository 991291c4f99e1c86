//! Offsets of groups: OffsetCommit, OffsetFetch, OffsetDelete.
//!
//! Topics are looked up by the handler: `id` is that of the topic if the partition exists. An
//! offset that was committed for an earlier topic of the same name is not given out.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::groups::{code, code_of};
use crate::groups::{
    Commit, Committed, Coordinator, GroupOffsets, Identity, Kept, Refusal, TopicOffsets,
};
use crate::uuid::Uuid;
use crate::wire::ErrorCode;
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use crate::wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};
use crate::wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};

/// As Kafka's `offset.metadata.max.bytes`.
const METADATA_BYTES_MAX: usize = 4096;

/// The first version of OffsetFetch that asks for several groups.
const FETCH_MANY_FROM: i16 = 8;

/// Commits what can be; the rest is refused one by one.
pub(super) async fn commit(
    groups: &Coordinator,
    id: impl Fn(&str, i32) -> Option<Uuid>,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let mut topics = Vec::new();
    let mut outcomes = Vec::new();
    for topic in request.topics {
        let mut partitions = BTreeMap::<Uuid, Vec<_>>::new();
        let mut of_topic = Vec::new();
        for partition in topic.partitions {
            let index = partition.partition_index;
            let metadata = partition.committed_metadata.unwrap_or_default();
            let outcome = match id(&topic.name, index) {
                None => ErrorCode::UnknownTopicOrPartition,
                Some(_) if metadata.len() > METADATA_BYTES_MAX => ErrorCode::OffsetMetadataTooLarge,
                Some(id) => {
                    let (offset, leader_epoch) =
                        (partition.committed_offset, partition.committed_leader_epoch);
                    let committed = Committed { offset, leader_epoch, metadata };
                    partitions.entry(id).or_default().push((index, committed));
                    ErrorCode::None
                }
            };
            of_topic.push((index, outcome));
        }
        let kept = partitions.into_iter();
        let name = &topic.name;
        topics.extend(kept.map(|(id, partitions)| TopicOffsets {
            name: name.clone(),
            id,
            partitions,
        }));
        outcomes.push((topic.name, of_topic));
    }
    let commit = Commit {
        group: request.group_id,
        identity: Identity { member_id: request.member_id, instance: request.group_instance_id },
        generation: request.generation_id_or_member_epoch,
        topics,
    };
    let of_group = code_of(&groups.commit(commit).await);
    commit_response(outcomes, of_group)
}

fn commit_response(
    outcomes: Vec<(String, Vec<(i32, ErrorCode)>)>,
    of_group: ErrorCode,
) -> OffsetCommitResponse {
    let partition = |(partition_index, outcome)| {
        let error_code = if outcome == ErrorCode::None { of_group } else { outcome };
        OffsetCommitResponsePartition { partition_index, error_code }
    };
    let topics = outcomes.into_iter().map(|(name, partitions)| OffsetCommitResponseTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}

/// What is asked for several times is answered once, so that the answer is no larger than what is
/// asked for and kept.
pub(super) fn fetch(
    groups: &Coordinator,
    id: impl Fn(&str, i32) -> Option<Uuid>,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    groups.offsets(|offsets| {
        let answer = |group: &str, topics: Option<Vec<OffsetFetchRequestTopic>>| {
            let kept = offsets.group(group);
            topics.map_or_else(|| all(kept, &id), |topics| some(kept, &id, topics))
        };
        if version < FETCH_MANY_FROM {
            let topics = answer(&request.group_id, request.topics);
            return OffsetFetchResponse { topics, ..OffsetFetchResponse::default() };
        }
        let mut seen = HashSet::new();
        let asked = request.groups.into_iter();
        let asked = asked.filter(|group| seen.insert(group.group_id.clone()));
        let answered = asked.map(|group| OffsetFetchResponseGroup {
            topics: answer(&group.group_id, group.topics),
            group_id: group.group_id,
            ..OffsetFetchResponseGroup::default()
        });
        OffsetFetchResponse { groups: answered.collect(), ..OffsetFetchResponse::default() }
    })
}

fn all(
    kept: Option<&GroupOffsets>,
    id: &impl Fn(&str, i32) -> Option<Uuid>,
) -> Vec<OffsetFetchResponseTopic> {
    let topics = kept.into_iter().flat_map(|kept| &kept.topics);
    let topics = topics.map(|(name, kept)| OffsetFetchResponseTopic {
        name: name.clone(),
        partitions: kept
            .iter()
            .filter(|(index, kept)| id(name, **index) == Some(kept.topic_id))
            .map(|(index, kept)| partition(*index, Some(kept)))
            .collect(),
    });
    topics.filter(|topic| !topic.partitions.is_empty()).collect()
}

fn some(
    kept: Option<&GroupOffsets>,
    id: &impl Fn(&str, i32) -> Option<Uuid>,
    topics: Vec<OffsetFetchRequestTopic>,
) -> Vec<OffsetFetchResponseTopic> {
    let mut asked = BTreeMap::<String, BTreeSet<i32>>::new();
    for topic in topics {
        asked.entry(topic.name).or_default().extend(topic.partition_indexes);
    }
    let topics = asked.into_iter().map(|(name, indexes)| {
        let kept = kept.and_then(|kept| kept.topics.get(&name));
        let current = |index: i32| {
            let kept = kept?.get(&index)?;
            (id(&name, index) == Some(kept.topic_id)).then_some(kept)
        };
        let partitions = indexes.iter().map(|index| partition(*index, current(*index))).collect();
        OffsetFetchResponseTopic { partitions, name }
    });
    topics.collect()
}

/// An offset that was never committed, and an epoch that is not known, are -1.
fn partition(partition_index: i32, kept: Option<&Kept>) -> OffsetFetchResponsePartition {
    let committed = kept.map(|kept| &kept.committed);
    OffsetFetchResponsePartition {
        partition_index,
        committed_offset: committed.map_or(-1, |committed| committed.offset),
        committed_leader_epoch: committed.map_or(-1, |committed| committed.leader_epoch),
        metadata: Some(committed.map_or_else(String::new, |it| it.metadata.clone())),
        ..OffsetFetchResponsePartition::default()
    }
}

pub(super) async fn delete(
    groups: &Coordinator,
    id: impl Fn(&str, i32) -> Option<Uuid>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let refused =
        |error_code| OffsetDeleteResponse { error_code, ..OffsetDeleteResponse::default() };
    let OffsetDeleteRequest { group_id, topics } = request;
    if groups.describe(&group_id).is_none() {
        return refused(ErrorCode::GroupIdNotFound);
    }
    let mut doomed = Vec::new();
    let mut outcomes = Vec::new();
    for topic in topics {
        let allowed = groups.may_delete_offsets(&group_id, &topic.name);
        if allowed == Err(Refusal::NonEmptyGroup) {
            return refused(ErrorCode::NonEmptyGroup);
        }
        let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
        let outcome = |index| match allowed {
            _ if id(&topic.name, index).is_none() => ErrorCode::UnknownTopicOrPartition,
            Err(why) => code(why),
            Ok(()) => ErrorCode::None,
        };
        let of_topic: Vec<_> = indexes.map(|index| (index, outcome(index))).collect();
        let deletes = of_topic.iter().filter(|(_, outcome)| *outcome == ErrorCode::None);
        doomed.push((topic.name.clone(), deletes.map(|(index, _)| *index).collect::<Vec<_>>()));
        outcomes.push((topic.name, of_topic));
    }
    doomed.retain(|(_, indexes)| !indexes.is_empty());
    if !doomed.is_empty()
        && let Err(why) = groups.delete_offsets(&group_id, doomed).await
    {
        return refused(code(why));
    }
    let topics = outcomes.into_iter().map(|(name, partitions)| OffsetDeleteResponseTopic {
        name,
        partitions: partitions
            .into_iter()
            .map(|(partition_index, error_code)| OffsetDeleteResponsePartition {
                partition_index,
                error_code,
            })
            .collect(),
    });
    OffsetDeleteResponse { topics: topics.collect(), ..OffsetDeleteResponse::default() }
}
