//! What an origin has, kept here: from a request to its answer.
//!
//! What is here and fresh is answered without a word to the origin. For what is not, the origin is
//! asked once for all who wait; for what is stale it is asked whether it is still so. For what may
//! not be kept it is asked for each client.
//!
//! Source: RFC 9111 §4 (answers from what is stored), §5.2.1.7 (only-if-cached).

mod ask;
mod asking;
pub(crate) mod background;
mod counts;
mod find;
mod heads;
mod key;
pub(crate) mod listing;
mod negative;
mod once;
mod policy;
mod question;
mod relay;
mod relays;
mod scrub;
mod status;
mod times;
mod under_way;
mod warm;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::StatusCode;
use http::request::Parts;
use rustix::io::Errno;
use tokio::task::spawn_blocking;
use underpass_client::{Client, Interrupt, Timeouts};
use underpass_daemon::Network;
use underpass_remote::{
    Head, Key, Object, ObjectError, Origin, OriginError, Store, StoreError, StoreOptions,
};

pub use self::policy::Defaults;
pub use self::relay::Relayed;

use self::asking::AllAsked;
pub(crate) use self::counts::{Collected, OriginCounts};
use self::find::{Found, Here};
use self::listing::Directories;
use self::negative::Negative;
use self::policy::{Policy, Why};
use self::relays::Relays;
pub(crate) use self::status::CacheStatus;
use self::times::Times;
use self::under_way::UnderWay;
use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::representation::Representation;
use crate::representation::entry::OfEntry;
use crate::representation::lifetime::Lifetime;
use crate::tree::KeptFiles;

/// An origin, and what of it is kept where.
#[derive(Debug, Clone)]
pub struct OriginOptions {
    /// `http://` or `https://`, perhaps with a path, or `s3://`.
    pub url: String,
    /// How it is asked.
    pub client: Client,
    /// Where what it has is kept.
    pub directory: PathBuf,
    /// The most bytes of it.
    pub bytes_max: u64,
    /// Bytes of that disk that are left free.
    pub free_min: u64,
    /// How long it may do nothing.
    pub timeout: Option<Duration>,
    /// How long each of its addresses may take to answer.
    pub connect_timeout: Option<Duration>,
    /// What holds where its answers say nothing.
    pub defaults: Defaults,
    /// How long it is believed that there is nothing.
    pub negative_for: Duration,
    /// Whose PURGE is carried out.
    pub purge_from: Vec<Network>,
    /// The most answers that are passed on at a time, each by a thread.
    pub relays_max: usize,
    /// How often what is kept is read again, and compared with what came.
    pub scrub_every: Option<Duration>,
}

/// Why there is no such site.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginSiteError {
    /// The origin's URL cannot be one.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The cache cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What of the options of a cache is as it was when this process opened it, and not as it is asked
/// for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stays {
    /// The most bytes of it.
    pub size: bool,
    /// Bytes that are left free.
    pub free: bool,
    /// How long its origin may take for what is kept.
    pub timeouts: bool,
}

/// A site that has what an origin has.
#[derive(Debug)]
pub struct OriginSite {
    origin: Arc<Origin>,
    store: Arc<Store>,
    directory: PathBuf,
    timeouts: Timeouts,
    defaults: Defaults,
    negative_for: Duration,
    purge_from: Vec<Network>,
    negative: Negative,
    asking: AllAsked,
    under_way: UnderWay,
    /// Paths that are to be kept before anybody asks for them.
    to_warm: Mutex<VecDeque<String>>,
    relays: Arc<Relays>,
    scrub_every: Option<Duration>,
    /// Ends what it does by itself.
    until: Interrupt,
    counts: OriginCounts,
    directories: Directories,
}

impl OriginSite {
    /// Opens the cache. Nothing is asked of the origin yet.
    ///
    /// # Errors
    ///
    /// [`OriginSiteError`].
    pub fn open(options: OriginOptions) -> Result<Self, OriginSiteError> {
        let timeouts = Timeouts { idle: options.timeout, connect: options.connect_timeout };
        let origin = Arc::new(Origin::parse(&options.url, options.client)?);
        let store = Store::open(StoreOptions {
            free_min: options.free_min,
            timeouts,
            ..StoreOptions::new(options.directory.clone(), options.bytes_max)
        })?;
        let until = Interrupt::never().map_err(|source| {
            let path = options.directory.clone();
            StoreError::Io { action: "make descriptors for", path, source }
        })?;
        Ok(Self {
            origin,
            store,
            directory: options.directory,
            timeouts,
            defaults: options.defaults,
            negative_for: options.negative_for,
            purge_from: options.purge_from,
            negative: Negative::default(),
            asking: AllAsked::default(),
            under_way: UnderWay::default(),
            to_warm: Mutex::default(),
            relays: Relays::new(options.relays_max),
            scrub_every: options.scrub_every,
            until,
            counts: OriginCounts::default(),
            directories: Directories::default(),
        })
    }

    /// Where what it has is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What of these options waits for a restart: a cache that this process has open stays as it
    /// was opened. `bytes_max` counts if it was asked for.
    #[must_use]
    pub fn stays(&self, bytes_max: Option<u64>, free_min: u64) -> Stays {
        let opened = self.store.options();
        let differs = |bytes: &u64| *bytes != opened.bytes_max;
        Stays {
            size: bytes_max.as_ref().is_some_and(differs),
            free: free_min != opened.free_min,
            timeouts: self.timeouts != opened.timeouts,
        }
    }

    pub(crate) const fn counts(&self) -> &OriginCounts {
        &self.counts
    }

    pub(crate) const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Answers a GET or HEAD. Credentials that are for this server are not the origin's.
    ///
    /// # Errors
    ///
    /// [`Refusal`] if the request is no such, or what is here cannot be opened.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        files: &KeptFiles,
        request: &Parts,
        (ranges_max, has_credentials): (usize, bool),
    ) -> Result<(Answer, CacheStatus), Refusal> {
        let path = key::path_and_query(&request.uri)?;
        let mut times = Times::default();
        let found = match self.key(&path) {
            _ if has_credentials => Found::Relay(Why::Authorization),
            Some(key) => self.find(&key, &path, request, &mut times).await,
            None if self.origin.url(&path).is_err() => {
                let status = StatusCode::NOT_FOUND;
                let miss = CacheStatus::Miss { status: status.as_u16(), is_collapsed: false };
                Found::Answer(Answer::error(status), miss)
            }
            None => Found::Relay(Why::Room),
        };
        let (mut answer, status) = match found {
            Found::Answer(answer, status) => (answer, status),
            Found::Here(here) => match self.represent(files, request, &here).await {
                Ok(file) => {
                    let Parts { method, headers, .. } = request;
                    let mut answer = Answer::of(method, headers, &file, ranges_max);
                    file.add_age(&mut answer.headers);
                    (answer, here.status)
                }
                Err(refusal) => {
                    tracing::warn!("{}: {}", here.entry.key(), crate::refusal::chain(&refusal));
                    self.relay(&path, request, Why::Room, &mut times).await
                }
            },
            Found::Relay(why) => self.relay(&path, request, why, &mut times).await,
        };
        answer.cached = Some(status.in_log(times.origin, times.waited));
        Ok((answer, status))
    }

    /// What a path is known by, if it can be kept.
    fn key(&self, path: &str) -> Option<Key> {
        let url = self.origin.url(path).ok()?;
        Key::new(url.to_string()).ok()
    }

    /// Whether an answer of this status says that there is nothing: a bucket may not say more.
    fn says_absent(&self, status: u16) -> bool {
        matches!(status, 404 | 410) || (status == 403 && matches!(*self.origin, Origin::Bucket(_)))
    }

    fn policy(&self, head: &Head) -> Policy {
        Policy::of(&heads::fields(head), head.answered_ms, &self.defaults)
    }

    /// What an entry is to clients.
    async fn represent(
        &self,
        files: &KeptFiles,
        request: &Parts,
        here: &Here,
    ) -> Result<Arc<Representation>, Refusal> {
        let Here { entry, head, policy, .. } = here;
        let (age, fresh_for) = policy.lifetime(SystemTime::now());
        let of = OfEntry {
            entry: Some(Arc::clone(entry)),
            object: self.object(here).await?,
            head: Arc::clone(head),
            is_whole: entry.is_whole(),
            name: entry.key().as_str().into(),
            lifetime: Lifetime::new(age, fresh_for),
            origin_timeout: self.timeouts.idle.unwrap_or(Duration::MAX),
        };
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(files.of_entry(path.as_bytes(), &of)?)
    }

    /// Its object, which is opened, and its meta read, where that may wait.
    async fn object(&self, here: &Here) -> Result<Arc<Object>, Refusal> {
        let open = here.object.clone().or_else(|| here.entry.object_at_once(&self.origin));
        if let Some(object) = open {
            return Ok(object);
        }
        let (entry, origin) = (Arc::clone(&here.entry), Arc::clone(&self.origin));
        let opened = spawn_blocking(move || entry.object(&origin)).await;
        // It is cancelled if the runtime stops meanwhile.
        Ok(opened.unwrap_or(Err(ObjectError::Disk(Errno::CANCELED)))?)
    }

    /// Whether what a PURGE of this client asks for is carried out.
    pub(crate) fn lets_purge(&self, client: Option<std::net::IpAddr>) -> bool {
        client.is_none() || self.purge_from.iter().any(|network| network.has(client))
    }

    /// Removes what is kept of a path; whether there was something.
    pub(crate) fn purge(&self, files: &KeptFiles, request: &Parts) -> Result<bool, Refusal> {
        let path = key::path_and_query(&request.uri)?;
        let Some(key) = self.key(&path) else { return Ok(false) };
        self.part_from_waiting(&key);
        let was_negative = self.negative.forget(&key);
        let was_here = self.store.purge(&key);
        let as_sent = request.uri.path_and_query().map_or("/", |path| path.as_str());
        files.forget_entry(as_sent.as_bytes());
        Ok(was_here || was_negative)
    }

    /// Ends all that is under way, and waits until what came is written. Nothing is asked after it.
    pub(crate) fn close(&self) {
        self.until.end();
        self.relays.close();
        self.store.close();
    }

    fn interrupt(&self) -> std::io::Result<Interrupt> {
        Ok(Interrupt::never()?.with(self.timeouts))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod testing {
    use super::*;

    /// A site whose origin is not there.
    pub(super) fn site() -> (Arc<OriginSite>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let site = OriginSite::open(OriginOptions {
            url: "http://127.0.0.1:1".into(),
            client: Client::default(),
            directory: dir.path().join("cache"),
            bytes_max: 1 << 20,
            free_min: 0,
            timeout: None,
            connect_timeout: None,
            defaults: Defaults::default(),
            negative_for: Duration::ZERO,
            purge_from: vec![],
            relays_max: 1,
            scrub_every: None,
        });
        (Arc::new(site.unwrap()), dir)
    }
}
