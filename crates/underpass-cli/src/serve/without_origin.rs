//! The same flags of a build without origins, which says so.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::Args;

/// No flag but those that say that there is none.
#[derive(Debug, Args)]
pub(crate) struct OriginArguments {
    /// Refused.
    #[arg(long, value_name = "URL", hide = true, value_parser = refuse)]
    origin: Option<Infallible>,

    /// Refused.
    #[arg(long, value_name = "DIR", hide = true, value_parser = refuse)]
    cache: Option<Infallible>,
}

fn refuse(_: &str) -> Result<Infallible, String> {
    Err("this build has no remote part: build it with the feature 'remote'".to_owned())
}

impl OriginArguments {
    /// There is none.
    pub(crate) const fn is_given(&self) -> bool {
        self.origin.is_some() || self.cache.is_some()
    }

    /// It has no name.
    pub(crate) const fn shown(&self) -> Option<String> {
        None
    }

    /// Nothing is kept.
    pub(crate) const fn directory(&self) -> Option<PathBuf> {
        None
    }
}
