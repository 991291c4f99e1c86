//! `underpass serve`: makes a server of the flags and runs it until a signal.

mod access;
mod addresses;
mod changes;
mod cors;
mod headers;
mod http2;
mod limits;
mod listing;
mod lookup;
mod metadata;
#[cfg(feature = "remote")]
mod origin;
#[cfg(not(feature = "remote"))]
#[path = "serve/without_origin.rs"]
mod origin;
mod pages;
mod proxies;
pub(crate) mod site;
mod tls;
mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Parser, ValueEnum};
use underpass_serve::access_log::{Format, Sink};
use underpass_serve::{BindError, Endpoint, HostPattern, Publisher, Server, SiteOptions, Sites};

use crate::args::{Arguments, Command};
use crate::config::{expand, first_line, hosts, reloader};
use crate::exit::{remedy_of_binding, with_remedy};
use crate::serve::access::warn_of_readable_passwords;
use crate::serve::http2::Http2Arguments;
use crate::serve::limits::LimitsArguments;
use crate::serve::proxies::ProxyArguments;
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
    /// May be repeated; what a service manager passes takes the place of all of them.
    ///
    /// A port alone means that port of 127.0.0.1, which only this machine can reach. Port 0 takes
    /// any free port. To serve the network, listen on 0.0.0.0 or on `[::]`.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: Vec<Endpoint>,

    #[command(flatten)]
    server: ServerArguments,

    /// The same as --check-config.
    #[arg(long = "check")]
    only_check: bool,

    /// Where a line for each request goes: a file, '-' for standard output, or 'off'.
    ///
    /// Lines are dropped, and counted, rather than hold up a response when the file cannot take
    /// them.
    #[arg(long, value_name = "FILE", default_value = "off")]
    access_log: Sink,

    /// How a line of it looks: combined, as Apache and nginx have it, or json.
    ///
    /// A line of JSON also says how the bytes left (copy, sendfile, ktls, rustls), how long the
    /// disk was waited for, and why a response was cut short.
    #[arg(long, value_name = "FORMAT", default_value = "combined", hide_possible_values = true)]
    log_format: LogFormat,

    #[command(flatten)]
    pub(crate) site: SiteArguments,

    #[command(flatten)]
    limits: LimitsArguments,

    #[command(flatten)]
    proxies: ProxyArguments,

    #[command(flatten)]
    tls: TlsArguments,

    #[command(flatten)]
    http2: Http2Arguments,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    Combined,
    Json,
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
      Serve it over HTTPS; SIGHUP reads the certificate again. Add --listen-http 0.0.0.0:80 to
      send those there who come by HTTP, and to have certificates renewed through it.
  underpass serve /srv/files --auth-file users --auth-path 'private/**'
      Ask for a password beneath /private; 'htpasswd -cBC 10 users NAME' makes the file.
  underpass serve /srv/files --auth-file users --upload 'in/**' --upload-max-size 10GiB
      Take files beneath /in: curl -u NAME -T FILE http://127.0.0.1:8080/in/
  underpass serve --origin https://www.example.org --cache /var/cache/underpass
      Serve what that server has, fetch it once, and keep it as long as it says.
  underpass serve --origin 's3://bucket/prefix?region=eu-west-1' --cache /var/cache/underpass
      Serve the objects of a bucket, with the keys of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,
      or of ~/.aws.
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
    let tls = wanted.tls.options()?;
    let (config, is_check) =
        (wanted.server.config.as_deref(), wanted.server.is_check(wanted.only_check));
    let (sites, shown) = sites(wanted.site, config, is_check)?;
    if wanted.server.is_only_checked_if(wanted.only_check) {
        return Ok(());
    }
    let workers = wanted.server.workers();
    let to_https = wanted.tls.in_the_clear();
    let listen = [wanted.listen, to_https.listen.clone()].concat();
    let mut daemon = wanted.server.settings(listen, wanted.access_log);
    let proxies = wanted.proxies.proxies();
    if let Some(limit) = &mut daemon.connections_per_address {
        limit.proxies = [&proxies.headers_from[..], &proxies.fields_from].concat();
    }
    let ServerArguments { config, no_sandbox, .. } = wanted.server;
    let is_for_some = sites.0.iter().any(|(_, site)| site.stations.access.is_some());
    let server = Server::bind_sites(daemon, sites).map_err(refused)?.behind(proxies);
    let server = server.limited(wanted.limits.limits()).logging_in(match wanted.log_format {
        LogFormat::Combined => Format::Combined,
        LogFormat::Json => Format::Json,
    });
    let server = server.with_http2(wanted.http2.options());
    let in_kernel = tls.as_ref().map(|it| it.in_kernel);
    let server = match tls {
        Some(tls) => server.secured_but(tls, &to_https).map_err(refused)?,
        None => server,
    };
    let mut server = if no_sandbox { server } else { server.confined(config.as_deref()) };
    let doing = format!("serving {shown} at {}", where_at(&server, in_kernel.is_some()));
    // Before anyone is told to change the file.
    let reload = reload(server.publisher(), config);
    let server = server.on_reload(reload);
    say_ready(&doing, workers, server.metrics_address());
    in_kernel.into_iter().for_each(say_who_encrypts);
    if is_for_some && in_kernel.is_none() {
        warn_of_readable_passwords(server.endpoints());
    }
    Ok(server.run()?)
}

/// The server's addresses; of one with TLS, then those in the clear.
fn where_at(server: &Server, is_secured: bool) -> String {
    let named = |number: usize, endpoint: &Endpoint| match (endpoint, server.is_secured_at(number))
    {
        (Endpoint::Tcp(address), true) => format!("https://{address}/"),
        (Endpoint::Tcp(address), false) => format!("http://{address}/"),
        (Endpoint::Name(_) | Endpoint::Unix(_), _) => endpoint.to_string(),
    };
    let those = |secured: bool| {
        let all = server.endpoints().iter().enumerate();
        let those = all.filter(|it| server.is_secured_at(it.0) == secured);
        those.map(|it| named(it.0, it.1)).collect::<Vec<_>>().join(", ")
    };
    match (is_secured, those(false)) {
        (true, clear) if clear.is_empty() => those(true),
        (true, clear) => format!("{}, to which {clear} leads", those(true)),
        (false, clear) => clear,
    }
}

/// What SIGHUP makes of the file of settings.
fn reload(publisher: Publisher, config: Option<PathBuf>) -> impl Fn() + Send + Sync {
    let path = config.clone();
    reloader("serve", config, move || {
        let published = publisher.publish(sites_again(path.as_deref())?);
        published.map_err(refused)
    })
}

/// The sites that were asked for, and what to say of their directories.
fn sites(
    top: SiteArguments,
    config: Option<&Path>,
    is_only_checked: bool,
) -> anyhow::Result<(Sites, String)> {
    let hosts = config.map(|path| hosts(path, top.is_given())).transpose()?;
    let hosts = hosts.unwrap_or_default();
    let shown = top.origin.shown();
    let top = (hosts.is_empty() || top.is_given()).then_some((HostPattern::Others, top));
    let one = |(hosts, site)| Ok((hosts, one(site, is_only_checked)?));
    let all = top.into_iter().chain(hosts).map(one);
    let all: Vec<_> = all.collect::<anyhow::Result<_>>()?;
    let shown = match (&all[..], shown) {
        ([(HostPattern::Others, _)], Some(origin)) => origin,
        ([(HostPattern::Others, site)], None) => {
            let directory = std::path::absolute(&site.root).context("cannot name the directory")?;
            directory.display().to_string()
        }
        (all, _) => all.iter().map(|(hosts, _)| hosts.to_string()).collect::<Vec<_>>().join(", "),
    };
    Ok((Sites(all), shown))
}

fn one(arguments: SiteArguments, is_only_checked: bool) -> anyhow::Result<SiteOptions> {
    let access = arguments.access()?.map(Arc::new);
    let upload = arguments.upload(access.is_some())?.map(Arc::new);
    #[cfg(feature = "remote")]
    let origin = arguments.origin.site(arguments.are_listed(), is_only_checked)?;
    let mut site = arguments.options();
    site.stations.access = access;
    site.stations.upload = upload;
    #[cfg(feature = "remote")]
    (site.origin = origin);
    #[cfg(not(feature = "remote"))]
    let _ = is_only_checked;
    Ok(site)
}

/// The same as the file says it now.
fn sites_again(config: Option<&Path>) -> anyhow::Result<Sites> {
    let arguments = expand(std::env::args_os().collect())?;
    let parsed = Arguments::try_parse_from(arguments);
    let parsed = parsed.map_err(|error| anyhow!(first_line(&error)))?;
    let Command::Serve(wanted) = parsed.command else { bail!("the command is another") };
    Ok(sites(wanted.0.site, config, false)?.0)
}

fn refused(error: BindError) -> anyhow::Error {
    with_remedy(&error, remedy(&error))
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
        BindError::NotPassed(_) => Some(
            "--listen-http takes the port of one of the service manager's sockets, if there are \
             such",
        ),
        BindError::OnlyClear => Some("a service manager passed none but those of --listen-http"),
        BindError::Sandbox(_) | BindError::ReadOnly(_) => Some(
            "it has what was served at the start, and what is next to that: restart the server, or \
             run it with --no-sandbox",
        ),
        BindError::Daemon(error) => remedy_of_binding(error),
        BindError::HostTwice(_) | _ => None,
    }
}
