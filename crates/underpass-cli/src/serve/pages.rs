//! What is sent in place of a file.

use clap::Args;
use underpass_serve::{ErrorPage, ErrorPages, FixedStatus, FixedStatuses, Redirect, Redirects};

/// The flags about error pages and redirects.
#[derive(Debug, Args)]
#[command(next_help_heading = "Redirects and error pages")]
pub(crate) struct PagesArguments {
    /// The page for an error, such as '404 /404.html'; may be given for several.
    ///
    /// PATH is a file beneath DIR, which may be hidden. The status stays. Where the page is not
    /// there, and for a head that never became a request, the answer is a line of text.
    #[arg(long, value_name = "STATUS PATH")]
    error_page: Vec<ErrorPage>,

    /// Send a path elsewhere, such as '/old/* /new/:splat 308'; may be given for several.
    ///
    /// FROM may end with '/*', for all that is beneath it; ':splat' in TO is that part of the path.
    /// TO is a path or a URL; it gets the query of the request unless it has one. STATUS is 301,
    /// unless 302, 303, 307 or 308 is given. Redirects come before any file is looked up, and the
    /// first one that leads elsewhere holds.
    #[arg(long, value_name = "FROM TO [STATUS]")]
    redirect: Vec<Redirect>,

    /// Answer with an error whatever is there, such as 'old/** 410'; may be given for several.
    ///
    /// The pattern is one of --header, and the first one that a path has holds; the status is 403,
    /// 404, 410, 451 or 503. '** 503' with --error-page '503 /closed.html' is for maintenance.
    #[arg(long, value_name = "PATTERN STATUS")]
    status: Vec<FixedStatus>,
}

impl PagesArguments {
    pub(super) fn pages(self) -> (ErrorPages, Redirects, FixedStatuses) {
        let Self { error_page, redirect, status } = self;
        (ErrorPages::new(error_page), Redirects::new(redirect), FixedStatuses::new(status))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    #[test]
    fn pages_and_redirects_can_be_typed_several_times() {
        let words = ["underpass", "serve", "--error-page", "404 /a", "--error-page", "500 /b"];
        let words =
            [&words[..], &["--redirect", "/a /b", "--redirect", "/c/* /:splat 302"]].concat();
        let words = [&words[..], &["--status", "/d 410", "--status", "** 503"]].concat();
        let Command::Serve(wanted) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("the command is serve");
        };
        let pages = ["404 /a", "500 /b"].map(|page| page.parse().unwrap());
        let site = wanted.0.site.options();
        assert_eq!(site.error_pages, ErrorPages::new(pages.into()));
        let redirects = ["/a /b", "/c/* /:splat 302"].map(|redirect| redirect.parse().unwrap());
        assert_eq!(site.stations.redirects, Redirects::new(redirects.into()));
        let statuses = ["/d 410", "** 503"].map(|status| status.parse().unwrap());
        assert_eq!(site.stations.statuses, FixedStatuses::new(statuses.into()));
    }
}
