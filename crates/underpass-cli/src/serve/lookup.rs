//! Which names of a site answer.

use clap::Args;
use underpass_serve::Lookup;

/// The flags about what a target leads to.
#[derive(Debug, Args)]
pub(crate) struct LookupArguments {
    /// Serve and list names that begin with a dot too.
    ///
    /// Without it they are a 404, such as /.git/config and /.env; /.well-known is served.
    #[arg(long)]
    hidden: bool,
}

impl LookupArguments {
    pub(super) const fn lookup(self) -> Lookup {
        let Self { hidden } = self;
        Lookup { hidden }
    }
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
        assert_eq!(lookup(&["--hidden"]), Lookup { hidden: true });
    }
}
