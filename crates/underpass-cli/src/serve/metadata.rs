//! How files are described: entity-tags and media types.

use clap::{Args, ValueEnum};
use underpass_serve::media_type::{Charset, MediaTypeRule, MediaTypes};
use underpass_serve::{EntityTags, MetadataRules};

/// The flags about what describes a file.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fields and content")]
pub(crate) struct MetadataArguments {
    /// What entity-tags are made of: full or mtime-size.
    ///
    /// full: device, inode, size and both times, so that any change is another tag.
    /// mtime-size: modification date and size, as nginx makes them. Machines that serve the same
    ///   files have the same tags, if dates are copied too (rsync -t); a change that keeps both
    ///   is not seen by clients.
    #[arg(
        long,
        value_name = "PARTS",
        default_value = "full",
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    etag: Parts,

    /// The media type of an extension, such as 'md text/plain'; may be repeated.
    #[arg(long, value_name = "EXT TYPE")]
    mime: Vec<MediaTypeRule>,

    /// The charset that texts are declared to be in, or off to declare none.
    #[arg(long, value_name = "NAME", default_value = "utf-8")]
    charset: Charset,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Parts {
    Full,
    MtimeSize,
}

impl MetadataArguments {
    pub(super) fn rules(self) -> MetadataRules {
        let entity_tags = match self.etag {
            Parts::Full => EntityTags::Full,
            Parts::MtimeSize => EntityTags::MtimeSize,
        };
        MetadataRules { entity_tags, media_types: MediaTypes::new(self.mime, self.charset) }
    }
}
