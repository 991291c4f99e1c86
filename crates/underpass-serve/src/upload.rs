//! Files that clients put in place: whole or not at all.
//!
//! Everything that can refuse a PUT is looked at before its content is asked for. The content goes
//! to a hidden file in the directory of its name, and gets the name when all of it is on the disk,
//! so that neither a client that leaves, nor a full disk, nor the end of this process, leaves
//! anything under it.
//!
//! Source: RFC 9110 §9.3.4 (PUT), §10.1.1 (Expect), §14.5 (Content-Range), §15.3.2, §15.3.5,
//! §15.5.10, §15.5.14, §15.5.16; RFC 4918 §9.7.1 (no parent), §11.5 (507).

mod place;
mod receive;
mod refusal;
mod sweep;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue};
use http::request::Parts;
use http_body::Body;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::answer::{Answer, Content};
use crate::pattern::Pattern;
use crate::refusal::chain;
use crate::root::Wait;
use crate::sending::Client;
use crate::site_options::SiteOptions;
use crate::state::EntityTags;
use crate::stations::Asked;
use crate::target::Target;
use crate::tree::Tree;

use self::place::Place;
use self::receive::receive;
use self::refusal::Refusal;

pub(crate) use self::sweep::tidy_up;

/// Uploads that are under way at a time, in all workers: each has a few hundred KiB of content in
/// memory, and a thread when that is written.
const AT_A_TIME: usize = 128;

/// Hidden files begin with it, and are neither served nor made by anyone else.
pub(crate) const PREFIX: &[u8] = b".underpass-upload-";

/// What may be put where.
#[derive(Debug)]
pub struct Upload {
    paths: Vec<Pattern>,
    bytes_max: u64,
    may_replace: bool,
    under_way: Semaphore,
    /// Held from the last look at what has a name until the name is another's.
    naming: Mutex<()>,
}

impl Upload {
    /// Files at the paths of these patterns, of `bytes_max` at most. Those that are there may be
    /// replaced or not.
    #[must_use]
    pub const fn new(paths: Vec<Pattern>, bytes_max: u64, may_replace: bool) -> Self {
        let (under_way, naming) = (Semaphore::const_new(AT_A_TIME), Mutex::new(()));
        Self { paths, bytes_max, may_replace, under_way, naming }
    }

    /// Whether files may be put at the path of a URI; `*` stands for them all. What is malformed is
    /// refused as that.
    pub(crate) fn is_for(&self, path: &str) -> bool {
        let is_meant = |target: Target<'_>| {
            self.paths.iter().any(|pattern| pattern.matches(target.as_bytes()))
        };
        path == "*" || Target::parse(path).map_or(true, is_meant)
    }
}

/// A PUT that nothing in its head speaks against.
#[derive(Debug)]
struct Wanted {
    /// The directory, with the slash at its end, and the name in it.
    directory: Vec<u8>,
    name: Vec<u8>,
    /// How many bytes come, if that is known.
    len: Option<u64>,
    /// The fields, for their preconditions, and the kind of entity-tags in them.
    headers: HeaderMap,
    entity_tags: EntityTags,
}

impl Wanted {
    fn of(head: &Parts, upload: &Upload, site: &SiteOptions) -> Result<Self, Refusal> {
        let target = Target::parse(head.uri.path()).map_err(|_| Refusal::Target)?;
        let path = target.as_bytes();
        if target.is_directory() {
            return Err(Refusal::Directory);
        }
        if !site.lookup.serves(path) {
            return Err(Refusal::Hidden);
        }
        if head.headers.contains_key(CONTENT_RANGE) {
            return Err(Refusal::ContentRange);
        }
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(Refusal::Coded);
        }
        // hyper has refused a length that is not a number, and several.
        let len = head.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        if len.is_some_and(|len| len > upload.bytes_max) {
            return Err(Refusal::TooLarge);
        }
        let name_at = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, name) = path.split_at(name_at);
        let headers = head.headers.clone();
        let (directory, name) = (directory.into(), name.into());
        let entity_tags = site.metadata.entity_tags;
        Ok(Self { directory, name, len, headers, entity_tags })
    }
}

/// Answers a PUT of someone who may. Its content is taken if nothing speaks against it.
pub(crate) async fn put<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    &Asked { head, client, .. }: &Asked<'_>,
    content: &mut Option<B>,
) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    match put_in_place(tree, upload, head, content).await {
        Ok(was_there) => done(was_there),
        Err(refusal) => {
            if matches!(refusal, Refusal::Full | Refusal::Failed(_)) {
                let (path, status) = (head.uri.path().escape_debug(), refusal.status());
                let why = chain(&refusal);
                tracing::warn!("PUT {path} of {}: {status}: {why}", Client(client));
            }
            refusal.into_answer()
        }
    }
}

/// Says whether another file was there.
async fn put_in_place<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    head: &Parts,
    content: &mut Option<B>,
) -> Result<bool, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let wanted = Arc::new(Wanted::of(head, upload, &tree.options)?);
    let _one = upload.under_way.try_acquire().map_err(|_| Refusal::Busy)?;
    let place = {
        let (tree, upload, wanted) = (Arc::clone(tree), Arc::clone(upload), Arc::clone(&wanted));
        let make = move || Place::make(&*tree.root.get(Wait::Allowed)?, &upload, &wanted);
        wait(make).await?
    };
    let content = content.take().ok_or(Refusal::Incomplete)?;
    let place = receive(content, place, upload.bytes_max).await?;
    let was_there = {
        let (upload, wanted) = (Arc::clone(upload), Arc::clone(&wanted));
        wait(move || place.name(&upload, &wanted)).await?
    };
    tree.forget(&[&*wanted.directory, &wanted.name].concat());
    Ok(was_there)
}

/// Does this on a thread that may wait.
async fn wait<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    // It is cancelled if the runtime stops meanwhile.
    spawn_blocking(work).await.unwrap_or(Err(Refusal::Busy))
}

/// That the file is there now, and whether it took the place of another.
pub(crate) fn done(was_there: bool) -> Answer {
    let (status, headers) = if was_there {
        (StatusCode::NO_CONTENT, HeaderMap::new())
    } else {
        let none = HeaderValue::from_static("0");
        (StatusCode::CREATED, HeaderMap::from_iter([(CONTENT_LENGTH, none)]))
    };
    Answer { status, headers, content: Content::Empty }
}

#[cfg(test)]
mod tests;
