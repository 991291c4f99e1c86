//! How a site describes its files: RFC 9110 §8, representation metadata.

use crate::media_type::MediaTypes;
use crate::state::EntityTags;

/// What is chosen about the fields that describe a file.
#[derive(Debug, Clone, Default)]
pub struct MetadataRules {
    /// What an entity-tag is made of.
    pub entity_tags: EntityTags,
    /// Which media type a name has.
    pub media_types: MediaTypes,
}
