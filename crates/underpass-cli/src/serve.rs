//! `underpass serve`: makes a server of the flags and runs it until a signal.

mod access;
mod changes;
mod cors;
mod headers;
mod http2;
mod listing;
mod lookup;
mod metadata;
mod pages;
mod site;
mod tls;

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use underpass_serve::access_log::Sink;
use underpass_serve::{BindError, Endpoint, Options, Server};

use crate::config::reader;
use crate::exit::{remedy_of_binding, with_remedy};
use crate::serve::access::warn_of_readable_passwords;
use crate::serve::http2::Http2Arguments;
use crate::serve::site::SiteArguments;
use crate::serve::tls::{TlsArguments, say_who_encrypts};
use crate::server::{ServerArguments, say_ready};

/// Serve a directory over HTTP.
///
/// Files, byte ranges of them, index pages and listings of directories are sent in
/// answer to GET and HEAD. Names that begin with a dot are not served. Nothing outside of DIR is
/// ever reached, not by '..' and not through a symbolic link, unless --symlinks asks for that. The
/// server runs until SIGINT (Ctrl-C) or SIGTERM, and then finishes the responses under
/// way.
#[derive(Debug, Args)]
#[command(after_long_help = SERVE_HELP)]
pub(crate) struct ServeArguments {
    /// Where to listen: HOST:PORT, a port of 127.0.0.1, '*:PORT', unix:PATH or unix:@NAME.
    ///
    /// A port alone means that port of 127.0.0.1, which only this machine can reach. Port 0 takes
    /// any free port. To serve the network, listen on 0.0.0.0 or on `[::]`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: Endpoint,

    #[command(flatten)]
    server: ServerArguments,

    /// Where a line for each request goes: a file, '-' for standard output, or 'off'.
    ///
    /// Lines are in the combined format. They are dropped, and counted, rather than hold up a
    /// response when the file cannot take them.
    #[arg(long, value_name = "FILE", default_value = "off")]
    access_log: Sink,

    #[command(flatten)]
    pub(crate) site: SiteArguments,

    #[command(flatten)]
    tls: TlsArguments,

    #[command(flatten)]
    http2: Http2Arguments,
}

const SERVE_HELP: &str = "\
Examples:
  underpass serve
      Serve the current directory at http://127.0.0.1:8080/.
  underpass serve /srv/files --listen 0.0.0.0:80 --access-log /var/log/underpass.log
      Serve /srv/files to everyone, with a log.
  underpass serve --listen 0 --workers 1
      Take any free port, which is printed, and one thread.
  underpass serve /srv/files --listen 0.0.0.0:443 --tls-cert fullchain.pem --tls-key privkey.pem
      Serve it over HTTPS; SIGHUP reads the certificate again.
  underpass serve /srv/files --auth-file users --auth-path 'private/**'
      Ask for a password beneath /private; 'htpasswd -cBC 10 users NAME' makes the file.
  curl -C - -O http://127.0.0.1:8080/big.iso
      Resume a download from it.
  underpass serve /srv/files --archive tar
      Send directories as one file too: curl 'http://127.0.0.1:8080/photos/?archive=tar' | tar -x

What leaves without a copy:
  The bytes of a file go from the page cache to the socket by sendfile(2); they never enter the
  memory of this program. Small files are the exception: up to 16 KiB a copy costs less
  than the reference. A file that is not in the page cache is first read on another thread, so
  that it delays no other response. Since the network holds references to the cached pages, a file
  that is overwritten in place while it is sent may arrive as a mixture; --stability says what
  is done about that. Replace files by renaming (as mv, rsync and package managers do), and
  every response is one version, whole.";

/// Serves until SIGINT or SIGTERM.
///
/// # Errors
///
/// Those of [`Server::bind`], with what to do about them, and of [`Server::run`].
pub(crate) fn run(wanted: ServeArguments) -> anyhow::Result<()> {
    let (tls, access) = (wanted.tls.options()?, wanted.site.access()?);
    if wanted.server.is_only_checked() {
        return Ok(());
    }
    let workers = wanted.server.workers();
    let daemon = wanted.server.settings(wanted.listen, wanted.access_log);
    let ServerArguments { config, no_sandbox, .. } = wanted.server;
    let mut site = wanted.site.options();
    let is_for_some = access.is_some();
    site.stations.access = access.map(Arc::new);
    let directory = std::path::absolute(&site.root).context("cannot name the directory")?;
    let server = Server::bind(Options { daemon, site })
        .map_err(|error| with_remedy(&error, remedy(&error)))?;
    let server = server.with_http2(wanted.http2.options());
    let (scheme, in_kernel) =
        tls.as_ref().map_or(("http", None), |it| ("https", Some(it.in_kernel)));
    let server = match tls {
        Some(tls) => server.secured(tls).map_err(|error| with_remedy(&error, remedy(&error)))?,
        None => server,
    };
    let server = if no_sandbox { server } else { server.confined(config.as_deref()) };
    let where_at = server.endpoints().iter().map(|endpoint| match endpoint {
        Endpoint::Tcp(address) => format!("{scheme}://{address}/"),
        Endpoint::Name(_) | Endpoint::Unix(_) => endpoint.to_string(),
    });
    let where_at = where_at.collect::<Vec<_>>().join(", ");
    let doing = format!("serving {} at {where_at}", directory.display());
    say_ready(&doing, workers, server.metrics_address());
    in_kernel.into_iter().for_each(say_who_encrypts);
    if is_for_some && in_kernel.is_none() {
        warn_of_readable_passwords(server.endpoints());
    }
    Ok(server.on_reload(reader("serve", config)).run()?)
}

fn remedy(error: &BindError) -> Option<&'static str> {
    match error {
        BindError::Root(_) => Some("give a directory you may enter: underpass serve DIR"),
        BindError::Lease(_) => Some(
            "a lease takes the file's owner or CAP_LEASE, and a file system that has leases; \
             --stability guard needs neither",
        ),
        BindError::Certificate(_) => Some(
            "--tls-cert takes a file of PEM certificates, the server's own first, and --tls-key \
             that of its key",
        ),
        BindError::TlsOver(_) => Some("TLS is spoken at TCP addresses: --listen HOST:PORT"),
        BindError::Daemon(error) => remedy_of_binding(error),
        _ => None,
    }
}
