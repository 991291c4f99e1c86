//! A topic as requests see it.

use std::sync::Arc;

use super::config::{Overrides, TopicConfig};
use crate::partition::Partition;
use crate::uuid::Uuid;

/// A topic. It never changes: what changes it publishes another, with the same partitions.
#[derive(Debug, Clone)]
pub(crate) struct Topic {
    name: Arc<str>,
    id: Uuid,
    overrides: Overrides,
    config: Arc<TopicConfig>,
    partitions: Vec<Arc<Partition>>,
}

impl Topic {
    pub(super) const fn new(
        name: Arc<str>,
        id: Uuid,
        overrides: Overrides,
        config: Arc<TopicConfig>,
        partitions: Vec<Arc<Partition>>,
    ) -> Self {
        Self { name, id, overrides, config, partitions }
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What no other topic ever has, not even a later one of the same name.
    pub(crate) const fn id(&self) -> Uuid {
        self.id
    }

    /// What was set for this topic.
    pub(crate) const fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// What holds for it.
    pub(crate) const fn config(&self) -> &Arc<TopicConfig> {
        &self.config
    }

    /// The partition of a number; `None` if there is none.
    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn partitions(&self) -> &[Arc<Partition>] {
        &self.partitions
    }
}
