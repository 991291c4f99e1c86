//! The flags of one site: what is served, and how. Each theme has its own file, and makes its own
//! object.

use std::path::PathBuf;

use clap::Args;
use underpass_serve::SiteOptions;
use underpass_serve::access::Access;
use underpass_serve::stations::Stations;
use underpass_serve::upload::Upload;

use super::access::AccessArguments;
use super::addresses::AddressArguments;
use super::changes::ChangesArguments;
use super::cors::CorsArguments;
use super::headers::HeadersArguments;
use super::listing::ListingArguments;
use super::lookup::LookupArguments;
use super::metadata::MetadataArguments;
use super::origin::OriginArguments;
use super::pages::PagesArguments;
use super::upload::UploadArguments;

/// The flags of one site.
#[derive(Debug, Args)]
pub(crate) struct SiteArguments {
    /// The directory to serve [default: the current one].
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,

    #[command(flatten)]
    changes: ChangesArguments,

    #[command(flatten)]
    lookup: LookupArguments,

    #[command(flatten)]
    headers: HeadersArguments,

    #[command(flatten)]
    metadata: MetadataArguments,

    #[command(flatten)]
    cors: CorsArguments,

    #[command(flatten)]
    pages: PagesArguments,

    #[command(flatten)]
    access: AccessArguments,

    #[command(flatten)]
    addresses: AddressArguments,

    #[command(flatten)]
    listing: ListingArguments,

    #[command(flatten)]
    upload: UploadArguments,

    #[command(flatten)]
    pub(super) origin: OriginArguments,
}

impl SiteArguments {
    /// Who may read it, if not everyone may.
    pub(super) fn access(&self) -> anyhow::Result<Option<Access>> {
        self.access.access()
    }

    /// What may be put where, if anything may.
    pub(super) fn upload(&self, has_access: bool) -> anyhow::Result<Option<Upload>> {
        self.upload.upload(has_access)
    }

    /// Whether directories without an index are listed.
    #[cfg(feature = "remote")]
    pub(super) const fn are_listed(&self) -> bool {
        self.listing.is_on()
    }

    /// Whether it says what is served.
    pub(crate) const fn is_given(&self) -> bool {
        self.directory.is_some() || self.origin.is_given()
    }

    /// The site that was asked for; who may read it is read from a file.
    pub(crate) fn options(self) -> SiteOptions {
        let Self { directory, changes, lookup, headers, metadata, cors, pages, .. } = self;
        let Self { addresses, listing, origin, .. } = self;
        let directory = origin.directory().or(directory);
        let (error_pages, redirects, statuses) = pages.pages();
        let prefix = lookup.prefix();
        let (cors, addresses) = (cors.cors(), addresses.rules());
        SiteOptions {
            stability: changes.stability(),
            lookup: lookup.lookup(),
            codings: headers.codings(),
            metadata: metadata.rules(),
            ranges_max: headers.ranges_max(),
            fields: headers.fields(),
            error_pages,
            listings: listing.listings(),
            archives: listing.archives(),
            stations: Stations { cors, redirects, statuses, addresses, ..Stations::default() },
            prefix,
            ..SiteOptions::new(directory.unwrap_or_else(|| ".".into()))
        }
    }
}
