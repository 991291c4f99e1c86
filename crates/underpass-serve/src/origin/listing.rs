//! Directories of a bucket, which are what its keys have in common up to a slash.
//!
//! Source: Amazon S3 API Reference, ListObjectsV2 (delimiter, common prefixes).

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;
use underpass_client::{Client, ClientError, Interrupt, Timeouts};
use underpass_remote::bucket::{Bucket, Kind};
use underpass_remote::{Origin, OriginError};

use super::ask::status_of;
use super::once::Once;
use super::status::CacheStatus;
use super::{OriginSite, key};
use crate::answer::Answer;
use crate::listing::read::{Name, Names};
use crate::target::TargetError;

/// The most names of a directory that are listed: those of a hundred requests.
const NAMES_MAX: usize = 100_000;

/// The most bytes of them.
const BYTES_MAX: usize = 16 << 20;

/// Names that are asked for at a time; S3 gives no more.
const PAGE: u32 = 1_000;

/// How long they are asked for.
const READ_FOR: Duration = Duration::from_secs(20);

/// Directories that are read at a time, and how long others wait for their turn.
const READERS_MAX: usize = 4;
const PATIENCE: Duration = Duration::from_secs(10);

/// Directories whose names are kept.
const LISTS_MAX: NonZeroUsize = NonZeroUsize::new(4).unwrap();

/// Paths of which it is known whether they are directories.
const PATHS_MAX: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// How long a bucket that does not answer holds up the start.
const START: Timeouts =
    Timeouts { idle: Some(Duration::from_secs(5)), connect: Some(Duration::from_secs(5)) };

/// Directories of a bucket, as they were a moment ago.
#[derive(Debug)]
pub(super) struct Directories {
    /// `None` if there is no such directory, or it may not be listed.
    names: Once<Option<Arc<Names>>, StatusCode>,
    /// `None` if that may not be known.
    are_there: Once<Option<bool>, StatusCode>,
    readers: Semaphore,
}

impl Default for Directories {
    fn default() -> Self {
        Self {
            names: Once::of(LISTS_MAX),
            are_there: Once::of(PATHS_MAX),
            readers: Semaphore::new(READERS_MAX),
        }
    }
}

/// The path of a request as the bucket has it, percent-encoded.
pub(crate) fn path_of(uri: &Uri) -> Result<String, TargetError> {
    let mut path = key::path_and_query(uri)?;
    path.truncate(path.find('?').unwrap_or(path.len()));
    Ok(path)
}

impl OriginSite {
    /// Whether there can be such an origin. Asks it nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with the URL, or with what it needs.
    pub fn check_url(url: &str, client: Client) -> Result<(), OriginError> {
        Origin::parse(url, client).map(drop)
    }

    fn bucket(&self) -> Option<&Bucket> {
        match &*self.origin {
            Origin::Bucket(bucket) => Some(bucket),
            Origin::Http(_) => None,
        }
    }

    /// Whether its directories are listed and have indexes, which a web server sees to itself.
    pub(crate) fn has_directories(&self) -> bool {
        self.bucket().is_some()
    }

    /// Files that are read again while it serves.
    pub(crate) fn files_read_again(&self) -> &[PathBuf] {
        self.bucket().map_or(&[], Bucket::files_read_again)
    }

    /// Asks a bucket whether it may be asked as it will be. One that does not answer is warned of,
    /// as is one that may not be listed though it is to be.
    ///
    /// # Errors
    ///
    /// What is wrong with the bucket's name, its region, the credentials or the clock.
    pub fn check(&self, is_listed: bool) -> Result<(), ClientError> {
        let Some(bucket) = self.bucket() else { return Ok(()) };
        let Ok(interrupt) = Interrupt::never() else { return Ok(()) };
        let interrupt = interrupt.with(START);
        let ask = || match bucket.check(&interrupt) {
            Ok(()) if is_listed => bucket.list("", None, 1, &interrupt).map(|page| page.is_some()),
            checked => checked.map(|()| true),
        };
        match ask() {
            Ok(true) => {}
            Ok(false) => tracing::warn!(
                "{}: these credentials may not list it, so that directories without an index are \
                 not found: allow them s3:ListBucket, or give --listing off",
                bucket.name()
            ),
            Err(error @ ClientError::Protocol { .. }) => return Err(error),
            Err(error) => {
                let why = crate::refusal::chain(&error);
                tracing::warn!("{}: it could not be looked at: {why}", bucket.name());
            }
        }
        Ok(())
    }

    /// Whether there is a directory at a path without its slash; `None` if that may not be known.
    pub(crate) async fn has_directory(self: &Arc<Self>, path: &str) -> Option<bool> {
        let directory = format!("{}/", decoded(path)?);
        let ask = self.on_thread(Duration::ZERO, {
            let directory = directory.clone();
            move |site, bucket, interrupt| {
                let page = site.counted(bucket.list(&directory, None, 1, interrupt))?;
                Ok(page.map(|page| page.is_there))
            }
        });
        let (is_there, _) =
            self.directories.are_there.get(&directory, self.negative_for, ask).await;
        is_there.ok().flatten()
    }

    /// The names in the directory of a path with its slash.
    ///
    /// # Errors
    ///
    /// The status that says why there are none.
    pub(crate) async fn names(
        self: &Arc<Self>,
        path: &str,
    ) -> (Result<Arc<Names>, StatusCode>, CacheStatus) {
        let Some(directory) = decoded(path) else {
            return (Err(StatusCode::NOT_FOUND), CacheStatus::Hit);
        };
        let ask = async {
            let turn = timeout(PATIENCE, self.directories.readers.acquire()).await;
            let _turn = turn.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
            let directory = directory.clone();
            let read = move |site: &Self, bucket: &Bucket, interrupt: &Interrupt| {
                Ok(site.read(bucket, &directory, interrupt)?.map(Arc::new))
            };
            self.on_thread(READ_FOR, read).await
        };
        let all = &self.directories.names;
        let (names, is_known) = all.get(&directory, self.negative_for, ask).await;
        let names = names.and_then(|names| names.ok_or(StatusCode::NOT_FOUND));
        let status = match &names {
            _ if is_known => CacheStatus::Hit,
            Ok(_) => CacheStatus::Miss { status: 200, is_collapsed: false },
            Err(StatusCode::NOT_FOUND) => CacheStatus::Miss { status: 404, is_collapsed: false },
            Err(_) => CacheStatus::Failed,
        };
        (names, status)
    }

    /// An answer, counted, with what it says of the cache.
    pub(crate) fn told(&self, mut answer: Answer, status: CacheStatus) -> Answer {
        answer.cached.get_or_insert_with(|| status.in_log(None, None));
        self.counts.count_request(status);
        status.add_to(&mut answer.headers);
        answer
    }

    /// Has a directory be listed anew when it is asked for next; whether it was known.
    pub(crate) fn forget_directory(&self, path: &str) -> bool {
        let Some(directory) = decoded(path) else { return false };
        let was_there = self.directories.are_there.forget(&directory);
        self.directories.names.forget(&directory) || was_there
    }

    fn read(
        &self,
        bucket: &Bucket,
        directory: &str,
        interrupt: &Interrupt,
    ) -> Result<Option<Names>, ClientError> {
        let (began, mut next) = (Instant::now(), None);
        let (mut names, mut bytes, mut is_there) = (Vec::new(), 0, directory.is_empty());
        loop {
            let page = bucket.list(directory, next.as_deref(), PAGE, interrupt);
            let Some(page) = self.counted(page)? else { return Ok(None) };
            is_there |= page.is_there;
            for entry in page.entries.iter().filter(|entry| can_be_asked_for(&entry.name)) {
                bytes += entry.name.len();
                names.push(match entry.kind {
                    Kind::Directory => Name::of_directory(&entry.name),
                    Kind::Object { size, modified } => Name::of_file(&entry.name, size, modified),
                });
            }
            next = page.next;
            let is_all = next.is_none();
            let is_enough =
                names.len() >= NAMES_MAX || bytes >= BYTES_MAX || began.elapsed() >= READ_FOR;
            if is_all || is_enough {
                return Ok(is_there.then(|| Names::new(names, !is_all)));
            }
        }
    }

    fn counted<T>(&self, asked: Result<T, ClientError>) -> Result<T, ClientError> {
        self.counts.count_asked(asked.is_ok().then_some(200));
        asked
    }

    /// Asks the bucket on a thread that may wait, for somewhat longer than one answer may take.
    async fn on_thread<T: Send + 'static>(
        self: &Arc<Self>,
        longer: Duration,
        ask: impl FnOnce(&Self, &Bucket, &Interrupt) -> Result<T, ClientError> + Send + 'static,
    ) -> Result<T, StatusCode> {
        let (sender, said) = oneshot::channel();
        let site = Arc::clone(self);
        let is_begun = self.store.spawn(move |interrupt| {
            let Some(bucket) = site.bucket() else { return };
            let said = ask(&site, bucket, interrupt).map_err(|error| {
                let status = status_of(&error);
                site.counts.warn(|| format!("{status}: {}", crate::refusal::chain(&error)));
                status
            });
            drop(sender.send(said));
        });
        if !is_begun {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        let said = match self.timeouts.idle.zip(self.timeouts.connect) {
            Some((idle, connect)) => timeout(idle + connect + longer, said).await,
            None => Ok(said.await),
        };
        match said {
            Ok(said) => said.unwrap_or(Err(StatusCode::SERVICE_UNAVAILABLE)),
            Err(_) => Err(StatusCode::GATEWAY_TIMEOUT),
        }
    }
}

/// A directory as the bucket has it; none can have a name that is not UTF-8.
fn decoded(path: &str) -> Option<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    percent_decode_str(path).decode_utf8().ok().map(Into::into)
}

/// Whether a reference to the name leads to it.
fn can_be_asked_for(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && !name.contains('\0')
}
