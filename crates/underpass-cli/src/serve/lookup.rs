//! Which names of a site answer.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use underpass_serve::{Lookup, Symlinks};

/// The flags about what a target leads to.
#[derive(Debug, Args)]
pub(crate) struct LookupArguments {
    /// Serve and list names that begin with a dot too.
    ///
    /// Without it they are a 404, such as /.git/config and /.env; /.well-known is served.
    #[arg(long)]
    hidden: bool,

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
}

impl LookupArguments {
    pub(super) const fn lookup(self) -> Lookup {
        let Self { hidden, symlinks } = self;
        Lookup { hidden, symlinks }
    }
}

fn symlinks() -> impl TypedValueParser<Value = Symlinks> {
    PossibleValuesParser::new(Symlinks::ALL.iter().map(|it| it.name()))
        .try_map(|word| word.parse::<Symlinks>())
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
    }
}
