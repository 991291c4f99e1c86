//! Which addresses may ask a site.

use clap::Args;
use underpass_serve::addresses::{AddressRules, Addresses};

/// The flags about addresses.
#[derive(Debug, Args)]
#[command(next_help_heading = "Addresses")]
pub(crate) struct AddressArguments {
    /// Answer these networks and no others: '10.0.0.0/8,::1', or 'PATTERN NETWORKS' for some paths.
    ///
    /// May be repeated. Others get a 403. PATTERN is one of --header; 'unix' is who comes over a
    /// Unix socket. Of the networks that an address is in, the smallest decides, whether it is
    /// allowed or denied; of two that are the same, it is denied. Behind a proxy, see
    /// --accept-proxy-from and --forwarded-from.
    #[arg(long, value_name = "NETWORKS")]
    allow_from: Vec<Addresses>,

    /// Do not answer these networks, in the same form; may be repeated.
    #[arg(long, value_name = "NETWORKS")]
    deny_from: Vec<Addresses>,
}

impl AddressArguments {
    pub(super) fn rules(self) -> AddressRules {
        AddressRules::new(self.allow_from, self.deny_from)
    }
}
