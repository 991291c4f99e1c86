//! Which names of a site answer.

use clap::Args;
use clap::builder::{PossibleValuesParser, StringValueParser, TypedValueParser};
use underpass_serve::pattern::Pattern;
use underpass_serve::{FilePath, Lookup, PathPrefix, Symlinks};

/// The flags about what a target leads to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct LookupArguments {
    /// Serve and list names that begin with a dot too.
    ///
    /// Without it they are a 404, such as /.git/config and /.env; /.well-known is served.
    #[arg(long)]
    hidden: bool,

    /// Neither serve nor list what this pattern is for, nor anything beneath it; may be repeated.
    ///
    /// Such as '*.bak', node_modules or '/private'. It is one of --header, and a 404. A file that
    /// can be reached by another path, as through a link, is not hidden there.
    #[arg(long, value_name = "PATTERN")]
    hide: Vec<Pattern>,

    /// Which symbolic links are followed: inside, none or all.
    ///
    /// inside: those that lead to a place beneath DIR, absolute ones too.
    /// none: none; what is reached through one is a 404.
    /// all: all, so that everyone who can make a link in DIR can have any file sent that this
    ///   user may read. The sandbox then lets the server read everything.
    #[arg(
        long,
        value_name = "POLICY",
        default_value_t = Symlinks::default(),
        value_parser = symlinks(),
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    symlinks: Symlinks,

    /// The files that answer for a directory, the first that is there: names, with commas.
    #[arg(
        long,
        value_name = "NAMES",
        default_value = "index.html",
        value_delimiter = ',',
        value_parser = name()
    )]
    index: Vec<FilePath>,

    /// Answer /about with about.html where there is no file 'about'.
    ///
    /// It comes before a directory of that name, which is still reached with a slash at the end.
    #[arg(long)]
    clean_urls: bool,

    /// A file beneath DIR that answers, with 200, where nothing is: for applications of one page.
    ///
    /// Only a client whose Accept has text/html gets it, as a browser that goes to a page: a script
    /// or an image that is missing is a 404.
    #[arg(long, value_name = "FILE")]
    fallback: Option<FilePath>,

    /// Serve DIR beneath this path, such as /files; anything else is a 404.
    ///
    /// Patterns, redirects and pages have paths without it, and a redirect to a path leads beneath
    /// it again. For a proxy that passes on what begins with it and does not take it off.
    #[arg(long, value_name = "PATH")]
    path_prefix: Option<PathPrefix>,
}

impl LookupArguments {
    pub(super) fn prefix(&self) -> Option<PathPrefix> {
        self.path_prefix.clone()
    }

    pub(super) fn lookup(self) -> Lookup {
        let Self { hidden, hide, symlinks, index, clean_urls, fallback, path_prefix: _ } = self;
        Lookup { hidden, hide, symlinks, index, clean_urls, fallback }
    }
}

fn symlinks() -> impl TypedValueParser<Value = Symlinks> {
    PossibleValuesParser::new(Symlinks::ALL.iter().map(|it| it.name()))
        .try_map(|word| word.parse::<Symlinks>())
}

/// The name of a file.
fn name() -> impl TypedValueParser<Value = FilePath> {
    let wanted = "give names of files, such as index.html,index.htm";
    StringValueParser::new()
        .try_map(move |text| text.parse().ok().filter(FilePath::is_name).ok_or(wanted))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    fn lookup(words: &[&str]) -> Lookup {
        let words = [&["underpass", "serve"], words].concat();
        let Command::Serve(wanted) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("the command is serve");
        };
        wanted.0.site.options().lookup
    }

    #[test]
    fn what_is_not_asked_for_is_the_default() {
        assert_eq!(lookup(&[]), Lookup::default());
        assert_eq!(lookup(&["--hidden"]), Lookup { hidden: true, ..Lookup::default() });
        for &symlinks in Symlinks::ALL {
            let typed = lookup(&["--symlinks", symlinks.name()]);
            assert_eq!(typed, Lookup { symlinks, ..Lookup::default() });
        }
        let path = |text: &str| text.parse().unwrap();
        for (words, wanted) in [
            (
                &["--hide", "*.bak", "--hide", "/a"][..],
                Lookup {
                    hide: ["*.bak", "/a"].map(|pattern| pattern.parse().unwrap()).into(),
                    ..Lookup::default()
                },
            ),
            (&["--clean-urls"], Lookup { clean_urls: true, ..Lookup::default() }),
            (
                &["--index", "index.html,index.htm"],
                Lookup { index: vec![path("index.html"), path("index.htm")], ..Lookup::default() },
            ),
            (
                &["--fallback", "/app/index.html"],
                Lookup { fallback: Some(path("app/index.html")), ..Lookup::default() },
            ),
        ] {
            assert_eq!(lookup(words), wanted);
        }
        for words in [&["--index", "a/b"][..], &["--index", ""], &["--fallback", "../a"]] {
            let words = [&["underpass", "serve"], words].concat();
            assert!(Arguments::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
