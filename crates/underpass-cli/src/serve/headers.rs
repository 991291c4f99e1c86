//! Fields of answers, by pattern of the path.

use std::num::NonZeroUsize;

use clap::Args;
use underpass_serve::RANGES_MAX;
use underpass_serve::encoding::Codings;
use underpass_serve::field_rules::{FieldRule, FieldRules};

/// The flags about fields of answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Fields and content")]
pub(crate) struct HeadersArguments {
    /// A header field: 'Name: value', or 'PATTERN Name: value' for some paths; may be repeated.
    ///
    /// In a pattern '*' and '?' stand for anything within a segment of the path, '**' for any
    /// segments, [a-z] and {a,b} for one of them; without a '/' it is for the last segment in any
    /// directory. An index page is matched by its own name. Of two values the later one holds, and
    /// an empty one takes the field away. Errors get the fields too, but for those about content
    /// and caching. Length, date, entity-tag and the like are the server's own.
    #[arg(long, value_name = "FIELD")]
    header: Vec<FieldRule>,

    /// Cache-Control of all files, or with 'PATTERN VALUE' of some; may be repeated.
    ///
    /// Such as --cache-control no-cache --cache-control 'assets/** max-age=31536000, immutable'.
    /// Patterns are those of --header, which goes before this. A listing has its own no-cache
    /// unless a pattern is for it.
    #[arg(long, value_name = "VALUE", value_parser = FieldRule::of_caching)]
    cache_control: Vec<FieldRule>,

    /// Send a.js.zst, a.js.br or a.js.gz for a.js to clients that take it: zstd,br,gzip, or off.
    ///
    /// The order is that of preference where a client has none. A file that is older than the one
    /// it stands for, or not smaller, is not used. Answers about such a file say
    /// 'Vary: Accept-Encoding'.
    #[arg(long, value_name = "CODINGS", default_value = "off")]
    precompressed: Codings,

    /// How many byte ranges one request may ask for: if for more, it gets the whole file.
    ///
    /// Several are sent as multipart/byteranges. Those that overlap, or have less than 80 bytes
    /// between them, are one.
    #[arg(long, value_name = "N", default_value_t = RANGES_MAX)]
    max_ranges: NonZeroUsize,
}

impl HeadersArguments {
    pub(super) fn codings(&self) -> Codings {
        self.precompressed.clone()
    }

    pub(super) const fn ranges_max(&self) -> NonZeroUsize {
        self.max_ranges
    }

    pub(super) fn fields(self) -> FieldRules {
        FieldRules::new([self.cache_control, self.header].concat())
    }
}
