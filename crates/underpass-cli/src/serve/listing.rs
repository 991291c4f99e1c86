//! What is sent of a directory as a whole.

use clap::{Args, ValueEnum};
use underpass_serve::{Archives, Formats, Listings};

use crate::values::size;

/// The flags about directories.
#[derive(Debug, Args)]
#[command(next_help_heading = "Directories")]
pub(crate) struct ListingArguments {
    /// Whether a directory without an index is listed: on or off.
    ///
    /// A listing is sorted, filtered and turned by ?sort=name|size|modified, order=asc|desc, q=TEXT
    /// and page=N, and is JSON with ?json. With off such a directory is a 404.
    #[arg(long, value_name = "WHEN", default_value = "on", hide_possible_values = true)]
    listing: When,

    /// Send a directory without an index as one file, by ?archive=FORM: tar, zip, both, or off.
    ///
    /// All that is served beneath it is in it; files leave by reference. A download that broke off
    /// can be resumed (curl -C -). The first that is given is the first on the page.
    #[arg(long, value_name = "FORMS", default_value = "off")]
    archive: Formats,

    /// How large an archive may be, as in 10GiB; one that would be larger is a 403.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    archive_max_size: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    On,
    Off,
}

impl ListingArguments {
    pub(super) const fn is_on(&self) -> bool {
        matches!(self.listing, When::On)
    }

    pub(super) fn listings(&self) -> Option<Listings> {
        self.is_on().then(Listings::default)
    }

    pub(super) fn archives(self) -> Option<Archives> {
        let Self { archive, archive_max_size, .. } = self;
        (!archive.is_off()).then(|| Archives::new(archive, archive_max_size))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use underpass_serve::SiteOptions;

    use crate::args::{Arguments, Command};

    fn site(words: &[&str]) -> SiteOptions {
        let words = [&["underpass", "serve"], words].concat();
        let Command::Serve(wanted) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("the command is serve");
        };
        wanted.0.site.options()
    }

    #[test]
    fn directories_are_listed_unless_that_is_switched_off() {
        for (words, are_listed) in
            [(&[][..], true), (&["--listing", "on"], true), (&["--listing", "off"], false)]
        {
            assert_eq!(site(words).listings.is_some(), are_listed);
        }
    }

    #[test]
    fn archives_are_made_in_the_forms_that_are_asked_for() {
        for (words, shown) in [
            (&[][..], None),
            (&["--archive", "off"], None),
            (&["--archive", "zip,tar"], Some("zip,tar of any size")),
            (&["--archive", "tar", "--archive-max-size", "2KiB"], Some("tar up to 2048 bytes")),
        ] {
            let archives = site(words).archives.map(|archives| archives.to_string());
            assert_eq!(archives.as_deref(), shown, "{words:?}");
        }
        for words in [&["--archive", "rar"][..], &["--archive-max-size", "0"]] {
            let words = [&["underpass", "serve"], words].concat();
            assert!(Arguments::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
