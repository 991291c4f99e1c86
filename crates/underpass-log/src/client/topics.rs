//! Topics: which there are, and what is done with them.

use std::collections::HashMap;

use super::records::only;
use super::{Client, ClientError, RequestName, accept};
use crate::uuid::Uuid;
use crate::wire::Request;
use crate::wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsTopic};
use crate::wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use crate::wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource};
use crate::wire::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use crate::wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponseTopic};

/// How long a broker may take for a change.
const TIMEOUT_MS: i32 = 30_000;

/// A resource with settings that is a topic.
const TOPIC: i8 = 2;

/// What is done to a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Ask for the ends of a partition.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;

/// A topic, as a broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicDescription {
    /// What it is called.
    pub name: String,
    /// Its partitions, by their numbers.
    pub partitions: Vec<PartitionDescription>,
}

/// A partition, as a broker describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Its number.
    pub index: i32,
    /// The broker that leads it; `None` if it is offline.
    pub leader: Option<i32>,
    /// The epoch of its leader.
    pub leader_epoch: i32,
    /// The first offset, and the one behind the last; `None` if they are not known.
    pub offsets: Option<(i64, i64)>,
}

/// A setting of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSetting {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub value: String,
    /// Whether it was set for this topic.
    pub is_set: bool,
}

impl Client {
    /// All topics, or those of `names`, by their names. Their offsets are not asked for.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`] if there is no such topic.
    pub fn topics(
        &mut self,
        names: Option<&[String]>,
    ) -> Result<Vec<TopicDescription>, ClientError> {
        let wanted = names.map(|names| {
            names.iter().map(|name| MetadataRequestTopic { name: name.clone() }).collect()
        });
        let request = MetadataRequest {
            topics: wanted,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        let mut topics = Vec::new();
        for topic in self.call(&request)?.topics {
            accept(&topic_subject(&topic.name), topic.error_code, None)?;
            topics.push(described(topic));
        }
        topics.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(topics)
    }

    /// Adds their offsets to topics.
    ///
    /// # Errors
    ///
    /// Those of a request.
    pub fn add_offsets(&mut self, topics: &mut [TopicDescription]) -> Result<(), ClientError> {
        let starts = self.offsets(topics, EARLIEST)?;
        let ends = self.offsets(topics, LATEST)?;
        for topic in topics {
            for partition in &mut topic.partitions {
                let key = (topic.name.clone(), partition.index);
                partition.offsets = starts.get(&key).copied().zip(ends.get(&key).copied());
            }
        }
        Ok(())
    }

    fn offsets(
        &mut self,
        topics: &[TopicDescription],
        timestamp: i64,
    ) -> Result<HashMap<(String, i32), i64>, ClientError> {
        let wanted = |partition: &PartitionDescription| ListOffsetsPartition {
            partition_index: partition.index,
            timestamp,
            ..ListOffsetsPartition::default()
        };
        let topics = topics.iter().map(|topic| ListOffsetsTopic {
            name: topic.name.clone(),
            partitions: topic.partitions.iter().map(wanted).collect(),
        });
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: topics.collect(),
            ..ListOffsetsRequest::default()
        };
        let mut found = HashMap::new();
        for topic in self.call(&request)?.topics {
            for partition in topic.partitions.into_iter().filter(|one| !one.error_code.is_error()) {
                found.insert((topic.name.clone(), partition.partition_index), partition.offset);
            }
        }
        Ok(found)
    }

    /// Makes a topic, with the broker's number of partitions if `partitions` is `None`.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn create_topic(
        &mut self,
        name: &str,
        partitions: Option<i32>,
        settings: &[(String, String)],
    ) -> Result<(), ClientError> {
        let config = |(name, value): &(String, String)| CreatableTopicConfig {
            name: name.clone(),
            value: Some(value.clone()),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions.unwrap_or(-1),
            replication_factor: -1,
            assignments: Vec::new(),
            configs: settings.iter().map(config).collect(),
        };
        let request = CreateTopicsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let response = self.call(&request)?;
        let outcome = only(response.topics.into_iter(), RequestName(CreateTopicsRequest::KEY))?;
        accept(&topic_subject(name), outcome.error_code, outcome.error_message.as_deref())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn delete_topic(&mut self, name: &str) -> Result<(), ClientError> {
        let state = DeleteTopicState { name: Some(name.into()), topic_id: Uuid::ZERO };
        // One field is said up to version 5 and the other from then on.
        let request = DeleteTopicsRequest {
            topics: vec![state],
            topic_names: vec![name.into()],
            timeout_ms: TIMEOUT_MS,
        };
        let response = self.call(&request)?;
        let outcome = only(response.responses.into_iter(), RequestName(DeleteTopicsRequest::KEY))?;
        accept(&topic_subject(name), outcome.error_code, outcome.error_message.as_deref())
    }

    /// Adds partitions to a topic, so that there are `count`.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn add_partitions(&mut self, name: &str, count: i32) -> Result<(), ClientError> {
        let topic = CreatePartitionsTopic { name: name.into(), count, assignments: None };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let response = self.call(&request)?;
        let outcome =
            only(response.results.into_iter(), RequestName(CreatePartitionsRequest::KEY))?;
        accept(&topic_subject(name), outcome.error_code, outcome.error_message.as_deref())
    }

    /// The settings of a topic.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`].
    pub fn settings(&mut self, topic: &str) -> Result<Vec<TopicSetting>, ClientError> {
        /// The source of what was set for the topic itself.
        const OF_TOPIC: i8 = 1;
        let resource = DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.into(),
            configuration_keys: None,
        };
        let request = DescribeConfigsRequest {
            resources: vec![resource],
            ..DescribeConfigsRequest::default()
        };
        let response = self.call(&request)?;
        let found = only(response.results.into_iter(), RequestName(DescribeConfigsRequest::KEY))?;
        accept(&topic_subject(topic), found.error_code, found.error_message.as_deref())?;
        let settings = found.configs.into_iter().map(|config| TopicSetting {
            name: config.name,
            value: config.value.unwrap_or_default(),
            is_set: config.config_source == OF_TOPIC,
        });
        Ok(settings.collect())
    }

    /// Sets some settings of a topic, and lets others have their defaults again.
    ///
    /// # Errors
    ///
    /// Those of a request; [`ClientError::Refused`], and then nothing is changed.
    pub fn configure(
        &mut self,
        topic: &str,
        set: &[(String, String)],
        unset: &[String],
    ) -> Result<(), ClientError> {
        let set = set.iter().map(|(name, value)| AlterableConfig {
            name: name.clone(),
            config_operation: SET,
            value: Some(value.clone()),
        });
        let unset = unset.iter().map(|name| AlterableConfig {
            name: name.clone(),
            config_operation: DELETE,
            value: None,
        });
        let resource = AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: topic.into(),
            configs: set.chain(unset).collect(),
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        let response = self.call(&request)?;
        let outcome =
            only(response.responses.into_iter(), RequestName(IncrementalAlterConfigsRequest::KEY))?;
        accept(&topic_subject(topic), outcome.error_code, outcome.error_message.as_deref())
    }
}

fn topic_subject(name: &str) -> String {
    format!("topic '{name}'")
}

fn described(topic: MetadataResponseTopic) -> TopicDescription {
    let mut partitions: Vec<_> = topic
        .partitions
        .into_iter()
        .map(|partition| PartitionDescription {
            index: partition.partition_index,
            leader: Some(partition.leader_id).filter(|leader| *leader >= 0),
            leader_epoch: partition.leader_epoch,
            offsets: None,
        })
        .collect();
    partitions.sort_by_key(|partition| partition.index);
    TopicDescription { name: topic.name, partitions }
}
