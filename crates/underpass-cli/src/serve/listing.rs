//! What is sent of a directory as a whole.

use clap::{Args, ValueEnum};
use underpass_serve::Listings;

/// The flags about directories.
#[derive(Debug, Args)]
pub(crate) struct ListingArguments {
    /// Whether a directory without an index is listed: on or off.
    ///
    /// A listing is sorted, filtered and turned by ?sort=name|size|modified, order=asc|desc, q=TEXT
    /// and page=N, and is JSON with ?json. With off such a directory is a 404.
    #[arg(long, value_name = "WHEN", default_value = "on", hide_possible_values = true)]
    listing: When,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum When {
    On,
    Off,
}

impl ListingArguments {
    pub(super) fn listings(&self) -> Option<Listings> {
        (self.listing == When::On).then(Listings::default)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Arguments, Command};

    #[test]
    fn directories_are_listed_unless_that_is_switched_off() {
        for (words, are_listed) in
            [(&[][..], true), (&["--listing", "on"], true), (&["--listing", "off"], false)]
        {
            let words = [&["underpass", "serve"], words].concat();
            let Command::Serve(wanted) = Arguments::try_parse_from(words).unwrap().command else {
                panic!("the command is serve");
            };
            assert_eq!(wanted.0.site.options().listings.is_some(), are_listed);
        }
    }
}
