//! Whose word is taken for who a client is.

use clap::Args;
use http::header::HeaderName;
use underpass_serve::{Network, Proxies};

/// The flags about proxies in front of the server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Behind a proxy")]
pub(crate) struct ProxyArguments {
    /// Connections from these networks begin with a PROXY header, version 1 or 2, that names the
    /// client.
    ///
    /// Such as 10.0.0.0/8, ::1 or 'unix'; repeatable, or with commas. The client that it names is
    /// in the log, and the one whose address and whose number of connections count. A connection
    /// from there without a header is a 400, and one from elsewhere is the client's own.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    accept_proxy_from: Vec<Network>,

    /// Requests from these networks name their client in the field of --forwarded-field.
    ///
    /// Of several addresses the last one counts that is not in one of these networks: what stands
    /// before it anyone may have sent. Connections from there are not counted by
    /// --max-connections-per-address.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    forwarded_from: Vec<Network>,

    /// Which field that is: X-Forwarded-For, Forwarded, or one like X-Real-IP that has an address.
    ///
    /// It has to be one that the proxy sets, or appends to, in every request.
    #[arg(long, value_name = "NAME", default_value = "x-forwarded-for")]
    forwarded_field: HeaderName,
}

impl ProxyArguments {
    pub(super) fn proxies(self) -> Proxies {
        let Self { accept_proxy_from, forwarded_from, forwarded_field } = self;
        Proxies {
            headers_from: accept_proxy_from,
            fields_from: forwarded_from,
            field: forwarded_field,
        }
    }
}
