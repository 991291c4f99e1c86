//! The flags of `underpass copy` for `http://` and `https://`.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use underpass_copy::{Client, Field, Netrc, Proxies, Trust};

/// How servers are asked.
#[derive(Debug, Args)]
#[command(next_help_heading = "HTTP")]
pub(super) struct ServerArguments {
    /// Try again up to N times in a row, after 1 s, 2 s, 4 s and so on, if a server fails.
    ///
    /// For answers 408, 429, 500, 502, 503 and 504 (after the time in Retry-After, if it is at most
    /// five minutes), servers that cannot be reached, and connections that break off. What has
    /// arrived is kept: the rest is asked for with If-Range, which takes a strong ETag or a
    /// Last-Modified that is at least a minute old.
    #[arg(long, value_name = "N", default_value_t = 0)]
    retry: u32,

    /// Send this field with each request; may be given several times.
    ///
    /// Replaces copy's own field of that name. After a redirect to another scheme, host or port it
    /// is not sent, and neither are a user and a password in the URL.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<Field>,

    /// Take users and passwords from FILE [default: the file in NETRC, or ~/.netrc].
    ///
    /// Those in a URL (https://user:password@host/) come first, but other users of the machine can
    /// see them in the list of processes.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    netrc: Option<Option<PathBuf>>,

    /// Trust the certificates in this PEM file, and no others.
    ///
    /// Without it, those of this machine, or those that SSL_CERT_FILE and SSL_CERT_DIR name. A
    /// server may present a certificate of the file itself.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,

    /// Believe any certificate: those in between can read and change everything.
    #[arg(long)]
    insecure: bool,
}

impl ServerArguments {
    /// The client of the library, with the proxies that the environment names.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let variable = |name: &str| std::env::var(name).ok();
        let mut client = Client::default();
        client.fields.clone_from(&self.header);
        client.retries = self.retry;
        client.proxies = Proxies::of_environment(variable);
        if let Some(file) = &self.netrc {
            let usual = || Netrc::usual_path(variable).context("--netrc needs a file, or HOME");
            let path = file.clone().map_or_else(usual, Ok)?;
            let read = Netrc::read(&path);
            client.netrc = read.with_context(|| format!("cannot read {}", path.display()))?;
        }
        client.trust = match &self.cacert {
            Some(file) => Trust::File(file.clone()),
            None if self.insecure => Trust::Anybody,
            None => Trust::Machine,
        };
        Ok(client)
    }
}
