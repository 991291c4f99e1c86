//! Serving what another server has: an origin, with what is kept of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use underpass_copy::{Client, Field, Netrc, Proxies, Trust};
use underpass_serve::{Defaults, Network, OriginOptions, OriginSite};

use crate::exit::say;
use crate::values::{OrOff, duration, duration_or_off, size};

/// The most answers that are passed on at a time: a thread and a third of a MiB each.
const RELAYS_MAX: usize = 256;

/// The flags about an origin.
#[derive(Debug, Args)]
#[command(next_help_heading = "Origin")]
pub(crate) struct OriginArguments {
    /// Serve what this server or bucket has, http://, https:// or s3://, instead of a directory.
    ///
    /// What is asked for is fetched once, kept in --cache, and served from there: to all who ask
    /// while it arrives, and later as long as its Cache-Control or Expires says. A path of the URL
    /// comes before those of requests. Not kept, and fetched for each client, is what is private
    /// or no-store, has Set-Cookie, has Vary by more than Accept-Encoding, or is asked for with
    /// Authorization. What clients say with Cache-Control does not reach the origin. Each answer
    /// says in Cache-Status where it came from.
    ///
    /// s3://BUCKET/PREFIX?endpoint=URL&region=NAME&profile=NAME has the objects of a bucket whose
    /// names begin with PREFIX/; without an endpoint it is one of AWS. What is left out, and the
    /// keys, are found as AWS' own tools find them: AWS_ACCESS_KEY_ID and so on, ~/.aws, a role of
    /// the machine. A path with a slash at its end is the --index there, or else a list of what
    /// is beneath it.
    #[arg(
        long,
        value_name = "URL",
        requires = "cache",
        conflicts_with_all = [
            "directory", "upload", "archive", "symlinks", "precompressed", "fallback", "error_page"
        ]
    )]
    origin: Option<String>,

    /// Where what the origin has is kept: a directory that no other process uses.
    ///
    /// It is made if it is not there. A restart finds in it what was kept.
    #[arg(long, value_name = "DIR", requires = "origin")]
    cache: Option<PathBuf>,

    /// The most bytes of the disk for it [default: half of what is free at the start].
    ///
    /// What was used longest ago makes room. What is larger than a quarter of this is not kept.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "origin")]
    cache_size: Option<u64>,

    /// Bytes of that disk to be left free, whatever --cache-size says.
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "origin")]
    cache_free: Option<u64>,

    /// How often what is kept is read again and compared with what came, or 'off'.
    ///
    /// At 4 MiB/s, the first time within an hour. What the disk has damaged is removed, and comes
    /// anew when it is asked for.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "7d",
        value_parser = duration_or_off,
        requires = "origin"
    )]
    cache_scrub: OrOff,

    /// How long the origin may send nothing, or 'off' for no limit. Then it is a 504.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "30s",
        value_parser = duration_or_off,
        requires = "origin"
    )]
    origin_timeout: OrOff,

    /// How long each address of the origin may take to answer.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = duration,
        requires = "origin"
    )]
    origin_connect_timeout: Duration,

    /// Send this field to the origin with each request; may be repeated.
    ///
    /// Such as 'Authorization: Bearer TOKEN', which is for the origin then and no reason not to
    /// keep what it answers.
    #[arg(long, value_name = "NAME: VALUE", requires = "origin")]
    origin_header: Vec<Field>,

    /// Take the user and password for the origin from this file, as ~/.netrc has them.
    #[arg(long, value_name = "FILE", requires = "origin")]
    origin_netrc: Option<PathBuf>,

    /// Trust the certificates in this PEM file, and no others, when the origin is https://.
    #[arg(long, value_name = "FILE", requires = "origin")]
    origin_ca: Option<PathBuf>,

    /// Ask the origin by way of the proxies that http_proxy, https_proxy and no_proxy name.
    #[arg(long, requires = "origin")]
    origin_proxy: bool,

    /// How long something is fresh if the origin does not say.
    ///
    /// Without it, a tenth of the time since its Last-Modified, and a day at most.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "origin")]
    default_ttl: Option<Duration>,

    /// How long it is believed that there is nothing at a path, after a 404 or 410; or 'off'.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "10s",
        value_parser = duration_or_off,
        requires = "origin"
    )]
    negative_ttl: OrOff,

    /// How long something stale is served while the origin is asked, if it does not say.
    ///
    /// The stale-while-revalidate of an answer goes before it; must-revalidate, proxy-revalidate,
    /// s-maxage and no-cache forbid it.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "origin")]
    stale_while_revalidate: Option<Duration>,

    /// How long something stale is served if the origin fails, if it does not say.
    ///
    /// The same of stale-if-error. It fails if it cannot be reached, is late, or answers 500, 502,
    /// 503 or 504. After that time it is a 504. Other answers, such as 429, are passed on.
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "origin")]
    stale_if_error: Option<Duration>,

    /// Who may remove what is kept, by PURGE; may be repeated [default: this machine].
    ///
    /// 'curl -X PURGE http://HOST/path' removes what is kept of that path and query: a 200, or a
    /// 404 if there was nothing. What was asked for before it is not kept either.
    #[arg(long, value_name = "NETWORK", requires = "origin")]
    purge_from: Vec<Network>,

    /// Keep the paths in this file, one a line, as if they had been asked for.
    ///
    /// It is read at the start and at each SIGHUP. Four come at a time, and clients go before.
    #[arg(long, value_name = "FILE", requires = "origin")]
    warm: Option<PathBuf>,
}

impl OriginArguments {
    /// Whether there is an origin.
    pub(crate) const fn is_given(&self) -> bool {
        self.origin.is_some()
    }

    /// What messages call it.
    pub(crate) fn shown(&self) -> Option<String> {
        let url = self.origin.as_ref()?.split('?').next()?;
        let name = url.split_once("://").filter(|(scheme, _)| *scheme != "s3");
        Some(format!("what {} has", name.map_or(url, |(_, host)| host)))
    }

    /// The directory of what is kept.
    pub(crate) fn directory(&self) -> Option<PathBuf> {
        self.cache.clone()
    }

    /// The origin that was asked for, with what is kept of it; none if it is only to be checked
    /// that there can be one, which asks and makes nothing.
    ///
    /// # Errors
    ///
    /// That a file cannot be read, or the cache not be used; of a bucket, that it refuses us.
    pub(crate) fn site(
        &self,
        is_listed: bool,
        is_only_checked: bool,
    ) -> anyhow::Result<Option<Arc<OriginSite>>> {
        let (Some(url), Some(directory)) = (&self.origin, &self.cache) else { return Ok(None) };
        let client = self.client(url)?;
        let warm = self.warm.as_deref().map(paths).transpose()?;
        if is_only_checked {
            OriginSite::check_url(url, client).context("--origin")?;
            return Ok(None);
        }
        std::fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let bytes_max = self.cache_size.map_or_else(|| half_of_free(directory), Ok)?;
        let loopback = || ["127.0.0.0/8", "::1/128"].iter().filter_map(|it| it.parse().ok());
        let purge_from = self.purge_from.clone();
        let site = OriginSite::open(OriginOptions {
            url: url.clone(),
            client,
            directory: directory.clone(),
            bytes_max,
            free_min: self.cache_free.unwrap_or(0),
            timeout: self.origin_timeout.0,
            connect_timeout: Some(self.origin_connect_timeout),
            defaults: Defaults {
                fresh_for: self.default_ttl,
                stale_while_revalidate: self.stale_while_revalidate.unwrap_or_default(),
                stale_if_error: self.stale_if_error.unwrap_or_default(),
            },
            negative_for: self.negative_ttl.0.unwrap_or_default(),
            relays_max: RELAYS_MAX,
            scrub_every: self.cache_scrub.0,
            purge_from: if purge_from.is_empty() { loopback().collect() } else { purge_from },
        });
        let site = Arc::new(site.map_err(|error| anyhow::Error::new(error).context("--origin"))?);
        self.warn_of_what_stays(&site);
        site.check(is_listed).context("--origin")?;
        site.warm(warm.unwrap_or_default());
        Ok(Some(site))
    }

    /// What a reload cannot change.
    fn warn_of_what_stays(&self, site: &OriginSite) {
        let stays = site.stays(self.cache_size, self.cache_free.unwrap_or(0));
        let flags = [
            (stays.size, "--cache-size"),
            (stays.free, "--cache-free"),
            (stays.timeouts, "--origin-timeout or --origin-connect-timeout"),
        ];
        let flags: Vec<_> =
            flags.iter().filter(|(stays, _)| *stays).map(|(_, flag)| *flag).collect();
        if !flags.is_empty() {
            let (flags, cache) = (flags.join(" or "), site.directory().display());
            say(&format!(
                "warning: {cache} stays as it was opened: restart the server for another {flags}"
            ));
        }
    }

    fn client(&self, url: &str) -> anyhow::Result<Client> {
        let mut client = Client::default();
        client.fields.clone_from(&self.origin_header);
        if let Some(path) = &self.origin_netrc {
            let read = Netrc::read(path);
            client.netrc = read.with_context(|| format!("cannot read {}", path.display()))?;
        }
        if let Some(path) = &self.origin_ca {
            client.trust = Trust::File(path.clone());
        }
        if self.origin_proxy {
            client.proxies = Proxies::of_environment(|name| std::env::var(name).ok());
        }
        // The sandbox lets none be read later.
        let read = client.read_certificates();
        if url.starts_with("https:") || self.origin_ca.is_some() {
            read.context("cannot read the certificates that the origin is to be checked by")?;
        }
        Ok(client.keeping_connections())
    }
}

fn half_of_free(directory: &Path) -> anyhow::Result<u64> {
    let stat = rustix::fs::statvfs(directory)
        .with_context(|| format!("cannot look at the disk of {}", directory.display()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize) / 2)
}

fn paths(file: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read {}, which --warm names", file.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    if let Some(wrong) = lines.clone().find(|line| !line.starts_with('/')) {
        anyhow::bail!("{}: '{wrong}' is not a path: each begins with a slash", file.display());
    }
    Ok(lines.map(str::to_owned).collect())
}
