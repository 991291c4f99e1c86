//! What makes one site: its directory, and everything that is decided about what is in it.

use std::path::PathBuf;

use underpass::Stability;

use crate::field_rules::FieldRules;
use crate::lookup::Lookup;
use crate::stations::Stations;

/// A directory to serve, and how.
#[derive(Debug)]
pub struct SiteOptions {
    /// The directory.
    pub root: PathBuf,
    /// What is done about files that change while they are sent.
    pub stability: Stability,
    /// Which names answer.
    pub lookup: Lookup,
    /// Fields that depend on the path alone.
    pub fields: FieldRules,
    /// What requests and answers pass on their way.
    pub stations: Stations,
}

impl SiteOptions {
    /// `root` as it is served where nothing else is asked for.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        let (stability, lookup, fields, stations) = Default::default();
        Self { root, stability, lookup, fields, stations }
    }
}
