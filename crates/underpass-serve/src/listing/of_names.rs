//! The same of names that no directory of this machine has.

use super::query::Query;
use super::read::{Name, Names, Seen};
use super::{Listing, has};
use crate::lookup::Lookup;
use crate::media_type::MediaTypes;
use crate::refusal::Refusal;

impl Name {
    /// One that others are beneath.
    pub(crate) fn of_directory(name: &str) -> Self {
        Self { bytes: name.as_bytes().into(), is_directory: true, seen: None }
    }

    /// One with content, put there this many seconds after 1970 if that is known.
    pub(crate) fn of_file(name: &str, size: u64, modified: Option<i64>) -> Self {
        let seen = modified.map(|modified| Seen { size, modified });
        Self { bytes: name.as_bytes().into(), is_directory: false, seen }
    }
}

impl Names {
    /// All that there are, or some of them.
    pub(crate) const fn new(names: Vec<Name>, are_cut: bool) -> Self {
        Self { names, are_cut }
    }
}

impl<'a> Listing<'a> {
    /// A page of those of `names` that are served.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoPage`] if there are fewer pages.
    pub(crate) fn of_names(
        path: &'a [u8],
        query: &'a Query,
        media_types: &'a MediaTypes,
        (names, lookup): (&Names, &Lookup),
    ) -> Result<Self, Refusal> {
        let wanted = query.filter.to_lowercase();
        let is_listed =
            |name: &&Name| lookup.serves_name(path, &name.bytes) && has(&name.bytes, &wanted);
        let listed = names.names.iter().filter(is_listed).cloned().collect();
        let names = Names { names: listed, are_cut: names.are_cut };
        Self::of_found(path, query, media_types, names, |name| Some(name.clone()))
    }
}
