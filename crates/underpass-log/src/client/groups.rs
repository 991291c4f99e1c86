//! Consumer groups: which there are, how far they have read, and what is done with them.

use std::collections::BTreeMap;

use super::{Client, ClientError, accept};
use crate::wire::consumer_protocol::{self, ConsumerProtocolAssignment};
use crate::wire::delete_groups::DeleteGroupsRequest;
use crate::wire::describe_groups::{DescribeGroupsRequest, DescribedGroupMember};
use crate::wire::list_groups::ListGroupsRequest;
use crate::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::wire::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestGroup};

/// The state of a group that there is not.
const DEAD: &str = "Dead";

/// A group in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// What it is called.
    pub name: String,
    /// What it is doing, as Kafka calls it.
    pub state: String,
    /// What its members are: consumers, mostly.
    pub protocol_type: String,
}

/// A group, as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// What it is called.
    pub name: String,
    /// What it is doing, as Kafka calls it.
    pub state: String,
    /// How partitions are assigned.
    pub protocol: String,
    /// Its members.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// The name that the group gave it.
    pub member_id: String,
    /// The name that it keeps when it is started anew.
    pub instance: Option<String>,
    /// The client's name for itself.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// What it reads; `None` if what it was assigned is not of consumers.
    pub partitions: Option<Vec<(String, i32)>>,
}

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The next record to read.
    pub offset: i64,
    /// What the consumer had kept with it.
    pub metadata: String,
}

/// A place in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The first record that is there.
    Start,
    /// Behind the last.
    End,
    /// The first record of a time in ms since 1970, or of a later one.
    Time(i64),
}

impl Client {
    /// All groups, by name.
    ///
    /// # Errors
    ///
    /// Those of a request.
    pub fn groups(&mut self) -> Result<Vec<ListedGroup>, ClientError> {
        let response = self.call(&ListGroupsRequest::default())?;
        accept("groups", response.error_code, None)?;
        let groups = response.groups.into_iter().map(|group| ListedGroup {
            name: group.group_id,
            state: group.group_state,
            protocol_type: group.protocol_type,
        });
        Ok(groups.collect())
    }

    /// A group and its members; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn group(&mut self, name: &str) -> Result<Option<GroupDescription>, ClientError> {
        let request = DescribeGroupsRequest {
            groups: vec![name.to_owned()],
            ..DescribeGroupsRequest::default()
        };
        let mut groups = self.call(&request)?.groups;
        let Some(group) = groups.pop() else { return Ok(None) };
        accept(name, group.error_code, None)?;
        if group.group_state == DEAD {
            return Ok(None);
        }
        Ok(Some(GroupDescription {
            name: group.group_id,
            state: group.group_state,
            protocol: group.protocol_data,
            members: group.members.into_iter().map(member).collect(),
        }))
    }

    /// What a group has committed, by topic and partition.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn committed(&mut self, group: &str) -> Result<Vec<CommittedOffset>, ClientError> {
        // One pair of fields is said up to version 7 and the other from then on.
        let asked = OffsetFetchRequestGroup { group_id: group.to_owned(), topics: None };
        let request = OffsetFetchRequest {
            group_id: group.to_owned(),
            topics: None,
            groups: vec![asked],
            ..OffsetFetchRequest::default()
        };
        let response = self.call(&request)?;
        accept(group, response.error_code, None)?;
        let mut topics = response.topics;
        for answered in response.groups {
            accept(group, answered.error_code, None)?;
            topics.extend(answered.topics);
        }
        let mut committed = Vec::new();
        for topic in topics {
            for partition in topic.partitions {
                accept(group, partition.error_code, None)?;
                committed.push(CommittedOffset {
                    topic: topic.name.clone(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    metadata: partition.metadata.unwrap_or_default(),
                });
            }
        }
        committed.sort_unstable_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(committed)
    }

    /// Offsets of a place in partitions; `None` for a time with no record of it or a later one.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`] if there is no such partition.
    pub fn offsets_of(
        &mut self,
        partitions: &[(String, i32)],
        place: Place,
    ) -> Result<BTreeMap<(String, i32), Option<i64>>, ClientError> {
        let timestamp = match place {
            Place::Start => -2,
            Place::End => -1,
            Place::Time(time) => time.max(0),
        };
        let mut topics = BTreeMap::<&str, Vec<ListOffsetsPartition>>::new();
        for (topic, partition_index) in partitions {
            let partition = ListOffsetsPartition {
                partition_index: *partition_index,
                timestamp,
                ..ListOffsetsPartition::default()
            };
            topics.entry(topic).or_default().push(partition);
        }
        let topics = topics
            .into_iter()
            .map(|(name, partitions)| ListOffsetsTopic { name: name.to_owned(), partitions });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.collect(),
            ..ListOffsetsRequest::default()
        };
        let mut offsets = BTreeMap::new();
        for topic in self.call(&request)?.topics {
            for partition in topic.partitions {
                let key = (topic.name.clone(), partition.partition_index);
                accept(&format!("{}-{}", key.0, key.1), partition.error_code, None)?;
                offsets.insert(key, Some(partition.offset).filter(|offset| *offset >= 0));
            }
        }
        Ok(offsets)
    }

    /// Has a group without members continue elsewhere.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`] if it has members.
    pub fn set_offsets(
        &mut self,
        group: &str,
        offsets: &[(String, i32, i64)],
    ) -> Result<(), ClientError> {
        let mut topics = BTreeMap::<&str, Vec<OffsetCommitRequestPartition>>::new();
        for (topic, partition_index, committed_offset) in offsets {
            let partition = OffsetCommitRequestPartition {
                partition_index: *partition_index,
                committed_offset: *committed_offset,
                committed_metadata: Some(String::new()),
                ..OffsetCommitRequestPartition::default()
            };
            topics.entry(topic).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
            name: name.to_owned(),
            partitions,
        });
        let request = OffsetCommitRequest {
            group_id: group.to_owned(),
            topics: topics.collect(),
            ..OffsetCommitRequest::default()
        };
        for topic in self.call(&request)?.topics {
            for partition in topic.partitions {
                let subject = format!("{group}, {}-{}", topic.name, partition.partition_index);
                accept(&subject, partition.error_code, None)?;
            }
        }
        Ok(())
    }

    /// Deletes a group without members, and its offsets.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`] if it has members, or there is none.
    pub fn delete_group(&mut self, name: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![name.to_owned()] };
        for result in self.call(&request)?.results {
            accept(name, result.error_code, None)?;
        }
        Ok(())
    }
}

fn member(member: DescribedGroupMember) -> GroupMember {
    let assignment: Option<ConsumerProtocolAssignment> =
        consumer_protocol::read(&member.member_assignment).ok();
    let topics = assignment.map(|assignment| assignment.assigned_partitions);
    let partitions = topics.map(|topics| {
        let all = topics.into_iter().flat_map(|topic| {
            topic.partitions.into_iter().map(move |partition| (topic.topic.clone(), partition))
        });
        all.collect()
    });
    GroupMember {
        member_id: member.member_id,
        instance: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        partitions,
    }
}
