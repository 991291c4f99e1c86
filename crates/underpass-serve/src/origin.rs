//! What an origin has, kept here: from a request to its answer.
//!
//! What is here and fresh is answered without a word to the origin. For what is not, the origin is
//! asked once for all who wait; for what is stale it is asked whether it is still so. For what may
//! not be kept it is asked for each client.
//!
//! Source: RFC 9111 §4 (answers from what is stored), §5.2.1.7 (only-if-cached).

mod ask;
mod counts;
mod heads;
mod key;
mod negative;
mod policy;
mod relay;
mod status;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::COOKIE;
use http::request::Parts;
use http::{Method, StatusCode};
use tokio::sync::Semaphore;
use underpass_client::{Client, Interrupt, Timeouts};
use underpass_daemon::Network;
use underpass_remote::{
    Entry, Head, Key, Object, Origin, OriginError, Store, StoreError, StoreOptions,
};

pub use self::policy::Defaults;
pub use self::relay::Relayed;

use self::ask::{Asking, Ended, Question};
pub(crate) use self::counts::{Collected, OriginCounts};
use self::negative::{Known, Negative};
use self::policy::{Instead, Policy, Why, is_only_if_cached};
use self::status::CacheStatus;
use crate::answer::Answer;
use crate::refusal::Refusal;
use crate::representation::Representation;
use crate::representation::entry::OfEntry;
use crate::representation::lifetime::Lifetime;
use crate::tree::KeptFiles;

/// The most answers that are relayed at a time.
const RELAYS_MAX: usize = 256;

/// An origin, and what of it is kept where.
#[derive(Debug, Clone)]
pub struct OriginOptions {
    /// `http://` or `https://`, perhaps with a path.
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
    asking: Mutex<HashMap<Key, Asking>>,
    relays: Arc<Semaphore>,
    counts: OriginCounts,
}

/// What a request leads to.
enum Found {
    /// Somebody may hold its object open meanwhile.
    Here(Arc<Entry>, CacheStatus, Option<Arc<Object>>),
    Relay(Why),
    Answer(Answer, CacheStatus),
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
        Ok(Self {
            origin,
            store,
            directory: options.directory,
            timeouts,
            defaults: options.defaults,
            negative_for: options.negative_for,
            purge_from: options.purge_from,
            negative: Negative::default(),
            asking: Mutex::default(),
            relays: Arc::new(Semaphore::new(RELAYS_MAX)),
            counts: OriginCounts::default(),
        })
    }

    /// Where what it has is kept.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
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
    ) -> Result<Answer, Refusal> {
        let path = key::path_and_query(&request.uri)?;
        let found = match self.key(&path) {
            _ if has_credentials => Found::Relay(Why::Authorization),
            Some(key) => self.find(&key, &path, request).await,
            None if self.origin.url(&path).is_err() => {
                let status = StatusCode::NOT_FOUND;
                let miss = CacheStatus::Miss { status: status.as_u16(), is_collapsed: false };
                Found::Answer(Answer::error(status), miss)
            }
            None => Found::Relay(Why::Room),
        };
        let (mut answer, status) = match found {
            Found::Answer(answer, status) => (answer, status),
            Found::Here(entry, status, _object) => match self.represent(files, request, &entry) {
                Ok(file) => {
                    let Parts { method, headers, .. } = request;
                    let mut answer = Answer::of(method, headers, &file, ranges_max);
                    file.add_age(&mut answer.headers);
                    (answer, status)
                }
                Err(refusal) => {
                    tracing::warn!("{}: {}", entry.key(), crate::refusal::chain(&refusal));
                    self.relay(&path, request, Why::Room).await
                }
            },
            Found::Relay(why) => self.relay(&path, request, why).await,
        };
        self.counts.count_request(status);
        status.add_to(&mut answer.headers);
        Ok(answer)
    }

    /// What a path is known by, if it can be kept.
    fn key(&self, path: &str) -> Option<Key> {
        let url = self.origin.url(path).ok()?;
        Key::new(url.to_string()).ok()
    }

    async fn find(self: &Arc<Self>, key: &Key, path: &str, request: &Parts) -> Found {
        match self.negative.get(key, Instant::now()) {
            Some(Known::Absent(status)) => {
                return Found::Answer(Answer::error(status), CacheStatus::Hit);
            }
            Some(Known::Relayed(why)) => return Found::Relay(why),
            None => {}
        }
        let (now, entry) = (SystemTime::now(), self.store.get(key));
        if let Some(entry) = &entry {
            let policy = self.policy(&entry.head());
            if policy.is_fresh(now) {
                return Found::Here(Arc::clone(entry), CacheStatus::Hit, None);
            }
            if policy.may_stand_in(Instead::WhileAsking, now) {
                drop(self.ask(Question::again(key, path, entry)));
                let status = CacheStatus::Stale(policy.stale_for(now));
                return Found::Here(Arc::clone(entry), status, None);
            }
        }
        if is_only_if_cached(&request.headers) {
            let answer = Answer::error(StatusCode::GATEWAY_TIMEOUT);
            return Found::Answer(answer, CacheStatus::NotHere);
        }
        let question = match &entry {
            Some(entry) => Question::again(key, path, entry),
            None => Question::first(key, path, request),
        };
        let (asking, is_first) = self.ask(question);
        let ended = ask::end(asking, self.timeouts).await;
        self.ended(ended, entry, request, !is_first)
    }

    /// What the origin's answer makes of a request.
    fn ended(
        &self,
        ended: Ended,
        entry: Option<Arc<Entry>>,
        request: &Parts,
        is_collapsed: bool,
    ) -> Found {
        let was_here = entry.is_some();
        let said = |status: u16| {
            if was_here {
                CacheStatus::Revalidated { status, is_collapsed }
            } else {
                CacheStatus::Miss { status, is_collapsed }
            }
        };
        match ended {
            Ended::Here(entry, status, object) => Found::Here(entry, said(status), object),
            Ended::Moved(to) => {
                let status = StatusCode::TEMPORARY_REDIRECT;
                Found::Answer(Answer::redirect(status, to), said(status.as_u16()))
            }
            Ended::Absent(status) => Found::Answer(Answer::error(status), said(status.as_u16())),
            // It was asked as by no one in particular.
            Ended::Relay(why, _) if request.headers.contains_key(COOKIE) => Found::Relay(why),
            Ended::Relay(why, small) => {
                let small = lock(&small).take().filter(|_| request.method == Method::GET);
                let status = CacheStatus::Relayed(why);
                small.map_or(Found::Relay(why), |answer| Found::Answer(answer, status))
            }
            Ended::Failed(status, said) => {
                let now = SystemTime::now();
                let stale = entry.map(|entry| (self.policy(&entry.head()), entry));
                let stale = stale.filter(|(policy, _)| policy.may_stand_in(Instead::OfError, now));
                match stale {
                    Some((policy, entry)) => {
                        Found::Here(entry, CacheStatus::Stale(policy.stale_for(now)), None)
                    }
                    None => {
                        let mut answer = Answer::error(status);
                        answer.headers.extend(said);
                        Found::Answer(answer, CacheStatus::Failed)
                    }
                }
            }
        }
    }

    /// Whether an answer of this status says that there is nothing: a bucket may not say more.
    fn says_absent(&self, status: u16) -> bool {
        matches!(status, 404 | 410) || (status == 403 && matches!(*self.origin, Origin::Bucket(_)))
    }

    fn policy(&self, head: &Head) -> Policy {
        Policy::of(&heads::fields(head), head.answered_ms, &self.defaults)
    }

    /// What an entry is to clients.
    fn represent(
        &self,
        files: &KeptFiles,
        request: &Parts,
        entry: &Arc<Entry>,
    ) -> Result<Arc<Representation>, Refusal> {
        let head = entry.head();
        let (age, fresh_for) = self.policy(&head).lifetime(SystemTime::now());
        let of = OfEntry {
            object: entry.object(&self.origin)?,
            head,
            is_whole: entry.is_whole(),
            name: entry.key().as_str().into(),
            lifetime: Lifetime::new(age, fresh_for),
            origin_timeout: self.timeouts.idle.unwrap_or(Duration::MAX),
        };
        let path = request.uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(files.of_entry(path.as_bytes(), &of)?)
    }

    /// Whether what a PURGE of this client asks for is carried out.
    pub(crate) fn lets_purge(&self, client: Option<std::net::IpAddr>) -> bool {
        client.is_none() || self.purge_from.iter().any(|network| network.has(client))
    }

    /// Removes what is kept of a path; whether there was something.
    pub(crate) fn purge(&self, files: &KeptFiles, request: &Parts) -> Result<bool, Refusal> {
        let path = key::path_and_query(&request.uri)?;
        let Some(key) = self.key(&path) else { return Ok(false) };
        let was_negative = self.negative.forget(&key);
        let was_here = self.store.purge(&key);
        let as_sent = request.uri.path_and_query().map_or("/", |path| path.as_str());
        files.forget_entry(as_sent.as_bytes());
        Ok(was_here || was_negative)
    }

    /// Keeps these paths, as if a client had asked for them.
    pub fn warm(self: &Arc<Self>, paths: impl IntoIterator<Item = String>) {
        for path in paths {
            if let Some(key) = self.key(&path).filter(|key| self.store.get(key).is_none()) {
                drop(self.ask(Question::whole(&key, &path)));
            }
        }
    }

    fn interrupt(&self) -> std::io::Result<Interrupt> {
        Ok(Interrupt::never()?.with(self.timeouts))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
