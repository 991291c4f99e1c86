//! What makes one site: its directory, and everything that is decided about what is in it.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use underpass::Stability;

use crate::archive::Archives;
use crate::encoding::Codings;
use crate::error_pages::ErrorPages;
use crate::field_rules::FieldRules;
use crate::listing::Listings;
use crate::lookup::Lookup;
use crate::metadata_rules::MetadataRules;
use crate::prefix::PathPrefix;
use crate::stations::Stations;

/// More than any client was seen to ask for, and few enough to cost nothing.
pub const RANGES_MAX: NonZeroUsize = NonZeroUsize::new(16).unwrap();

/// A directory to serve, and how.
#[derive(Debug)]
pub struct SiteOptions {
    /// The directory.
    pub root: PathBuf,
    /// What is done about files that change while they are sent.
    pub stability: Stability,
    /// Which names answer.
    pub lookup: Lookup,
    /// In which content codings there may be files next to them, as in `a.js.gz`.
    pub codings: Codings,
    /// How files are described.
    pub metadata: MetadataRules,
    /// How many ranges a request may ask for; if for more, it gets the whole file.
    pub ranges_max: NonZeroUsize,
    /// Listings of directories without an index; without them there is nothing at such a path.
    pub listings: Option<Listings>,
    /// Archives of directories without an index.
    pub archives: Option<Archives>,
    /// The site's own pages for errors.
    pub error_pages: ErrorPages,
    /// Fields that depend on the path alone.
    pub fields: FieldRules,
    /// What requests and answers pass on their way.
    pub stations: Stations,
    /// The path that it is beneath.
    pub prefix: Option<PathPrefix>,
    /// The origin whose files it has, instead of those of the directory.
    #[cfg(feature = "remote")]
    pub origin: Option<std::sync::Arc<crate::origin::OriginSite>>,
}

impl SiteOptions {
    /// Where it writes, and asks others.
    #[cfg(feature = "remote")]
    pub(crate) fn cache(&self) -> Option<&std::path::Path> {
        self.origin.as_ref().map(|origin| origin.directory())
    }

    /// Files that are read again while it serves, next to those of every site.
    #[cfg(feature = "remote")]
    pub(crate) fn read_again(&self) -> impl Iterator<Item = &std::path::Path> {
        self.origin.iter().flat_map(|origin| origin.files_read_again()).map(|path| path.as_path())
    }

    /// A build without origins has none.
    #[cfg(not(feature = "remote"))]
    #[expect(clippy::unused_self, reason = "it is what the other build has")]
    pub(crate) fn read_again(&self) -> impl Iterator<Item = &std::path::Path> {
        std::iter::empty()
    }

    /// A build without origins has none.
    #[cfg(not(feature = "remote"))]
    pub(crate) const fn cache(&self) -> Option<&std::path::Path> {
        None
    }

    /// `root` as it is served where nothing else is asked for.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            root,
            stability: Stability::default(),
            lookup: Lookup::default(),
            codings: Codings::default(),
            metadata: MetadataRules::default(),
            ranges_max: RANGES_MAX,
            listings: Some(Listings::default()),
            archives: None,
            error_pages: ErrorPages::default(),
            fields: FieldRules::default(),
            stations: Stations::default(),
            prefix: None,
            #[cfg(feature = "remote")]
            origin: None,
        }
    }
}
