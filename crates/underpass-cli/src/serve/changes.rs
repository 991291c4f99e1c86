//! What is done about files that change while they are sent.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use underpass::Stability;

/// The flags about files that change.
#[derive(Debug, Args)]
#[command(next_help_heading = "Files")]
pub(crate) struct ChangesArguments {
    /// What to do about a file that changes while it is sent: none, guard, lease or copy.
    ///
    /// none: nothing, for files that are only ever replaced by renaming.
    /// guard: look again before the last bytes leave, and cut the response short if it changed.
    /// lease: make anyone who opens the file for writing wait until it is sent; refused at the
    ///   start where leases cannot be held.
    /// copy: send a copy, which costs copying.
    #[arg(
        long,
        value_name = "POLICY",
        default_value_t = Stability::default(),
        value_parser = stability(),
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    stability: Stability,
}

impl ChangesArguments {
    pub(super) const fn stability(&self) -> Stability {
        self.stability
    }
}

fn stability() -> impl TypedValueParser<Value = Stability> {
    PossibleValuesParser::new(Stability::ALL.iter().map(|it| it.name()))
        .try_map(|word| word.parse::<Stability>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};

    #[test]
    fn every_policy_can_be_typed() {
        for &policy in Stability::ALL {
            let words = ["underpass", "serve", "--stability", policy.name()];
            let Command::Serve(wanted) = Arguments::try_parse_from(words).unwrap().command else {
                panic!("the command is serve");
            };
            assert_eq!(wanted.0.site.options().stability, policy);
        }
    }
}
