//! Files that clients put in place: whole or not at all.
//!
//! Everything that can refuse a PUT is looked at before its content is asked for. The content goes
//! to a hidden file in the directory of its name, and gets the name when all of it is on the disk,
//! so that neither a client that leaves, nor a full disk, nor the end of this process, leaves
//! anything under it.
//!
//! Source: RFC 9110 §9.3.4 (PUT), §10.1.1 (Expect), §14.5 (Content-Range), §15.3.2, §15.3.5,
//! §15.5.10, §15.5.14, §15.5.16; RFC 4918 §9.7.1 (no parent), §11.5 (507).

pub(crate) mod counted;
mod fields;
mod form;
mod partial;
mod parts;
mod place;
mod receive;
mod refusal;
mod resume;
mod sweep;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode, Uri};
use http_body::Body;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use crate::answer::{Answer, Content};
use crate::current_root::CurrentRoot;
use crate::pattern::Pattern;
use crate::refusal::chain;
use crate::root::{Root, Wait};
use crate::sending::Client;
use crate::site_options::SiteOptions;
use crate::state::EntityTags;
use crate::stations::Asked;
use crate::target::Target;
use crate::tree::Tree;

use self::fields::Fields;
use self::partial::{Partials, Token};
use self::place::Place;
use self::receive::receive;
use self::refusal::Refusal;

pub(crate) use self::sweep::tidy_up;

/// Uploads that are under way at a time, in all workers: each has a few hundred KiB of content in
/// memory, and a thread when that is written.
const AT_A_TIME: usize = 128;

/// RFC 5789 §3.1.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// Hidden files begin with it, and are neither served nor made by anyone else.
pub(crate) const PREFIX: &[u8] = b".underpass-upload-";

/// The same of files of which the rest may come by other requests.
const KEPT_PREFIX: &[u8] = b".underpass-upload-kept-";

/// What sends an answer before the last one, where that is possible.
pub(crate) type Interim<'a> = Option<&'a dyn Fn(Answer)>;

/// What may be put where.
#[derive(Debug)]
pub struct Upload {
    paths: Vec<Pattern>,
    bytes_max: u64,
    may_replace: bool,
    shared: Arc<Shared>,
}

/// What is under way; a reload hands it on.
#[derive(Debug)]
struct Shared {
    under_way: Semaphore,
    /// Held from the last look at what has a name until the name is another's.
    naming: Mutex<()>,
    partials: Partials,
}

impl Upload {
    /// Files at the paths of these patterns, of `bytes_max` at most. Those that are there may be
    /// replaced or not.
    #[must_use]
    pub fn new(paths: Vec<Pattern>, bytes_max: u64, may_replace: bool) -> Self {
        let (naming, partials) = Default::default();
        let under_way = Semaphore::new(AT_A_TIME);
        let shared = Arc::new(Shared { under_way, naming, partials });
        Self { paths, bytes_max, may_replace, shared }
    }

    /// Removes what has come of files of which nothing more came for a day.
    pub(crate) async fn forget_old(&self, root: &Arc<CurrentRoot>) {
        self.shared.partials.forget_old(root).await;
    }

    /// Has what is under way in the same directory continue under these rules.
    pub(crate) fn continue_from(&mut self, before: &Self) {
        self.shared = Arc::clone(&before.shared);
    }

    /// Whether files may be put at the path of a URI; `*` stands for them all. What is malformed is
    /// refused as that.
    pub(crate) fn is_for(&self, path: &str) -> bool {
        let is_meant = |target: Target<'_>| self.is_for_path(target.as_bytes());
        path == "*" || Target::parse(path).map_or(true, is_meant)
    }

    fn is_for_path(&self, path: &[u8]) -> bool {
        self.paths.iter().any(|pattern| pattern.matches(path))
    }

    /// Whether some file may be put into a directory, which ends with a slash.
    pub(crate) fn is_for_some_in(&self, directory: &[u8]) -> bool {
        self.paths.iter().any(|pattern| pattern.matches_some_in(directory))
    }

    /// Whether a request that [is an upload](is_upload) is for something that there is.
    pub(crate) fn takes(&self, head: &Parts) -> bool {
        let path = head.uri.path();
        match head.method {
            Method::PUT => self.is_for(path),
            Method::POST if Fields::of(&head.headers).complete.is_some() => self.is_for(path),
            Method::POST => self.is_for_forms(path),
            _ => Token::of(head.uri.query()).is_some() && self.is_for(path),
        }
    }

    fn is_for_forms(&self, path: &str) -> bool {
        let is_meant =
            |target: Target<'_>| target.is_directory() && self.is_for_some_in(target.as_bytes());
        Target::parse(path).is_ok_and(is_meant)
    }

    /// The methods that there are for a target, if it is for uploads.
    pub(crate) fn allow(&self, uri: &Uri) -> Option<&'static str> {
        let path = uri.path();
        if self.is_for(path) && Token::of(uri.query()).is_some() {
            return Some("HEAD, PATCH, DELETE, OPTIONS");
        }
        if self.is_for_forms(path) {
            return Some("GET, HEAD, POST, OPTIONS");
        }
        self.is_for(path).then_some("GET, HEAD, PUT, OPTIONS")
    }

    /// What a client may know before it begins.
    pub(crate) fn describe(&self, uri: &Uri, headers: &mut HeaderMap) {
        if self.is_for(uri.path()) {
            headers.insert(ACCEPT_PATCH, fields::PARTIAL);
            headers.insert(fields::LIMIT, fields::limit(self.bytes_max, None));
        }
    }
}

/// Whether a request puts something in place, if that is possible there.
pub(crate) fn is_upload(head: &Parts) -> bool {
    match head.method {
        Method::PUT | Method::POST | Method::PATCH => true,
        Method::HEAD | Method::DELETE => Token::of(head.uri.query()).is_some(),
        _ => false,
    }
}

/// A file that nothing known beforehand speaks against.
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
        if target.is_directory() {
            return Err(Refusal::Directory);
        }
        let len = Fields::of(&head.headers).content;
        let wanted = Self::at(target.as_bytes(), head.headers.clone(), len, site)?;
        if head.headers.contains_key(CONTENT_RANGE) {
            return Err(Refusal::ContentRange);
        }
        if head.headers.contains_key(CONTENT_ENCODING) {
            return Err(Refusal::Coded);
        }
        if len.is_some_and(|len| len > upload.bytes_max) {
            return Err(Refusal::TooLarge);
        }
        Ok(wanted)
    }

    fn path(&self) -> Vec<u8> {
        [&*self.directory, &self.name].concat()
    }

    fn at(
        path: &[u8],
        headers: HeaderMap,
        len: Option<u64>,
        site: &SiteOptions,
    ) -> Result<Self, Refusal> {
        if !site.lookup.serves(path) {
            return Err(Refusal::Hidden);
        }
        let name_at = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, name) = path.split_at(name_at);
        let (directory, name) = (directory.into(), name.into());
        Ok(Self { directory, name, len, headers, entity_tags: site.metadata.entity_tags })
    }
}

/// Answers a request of someone who may put something here. Its content is taken if nothing speaks
/// against it.
pub(crate) async fn answer<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    asked: &Asked<'_>,
    content: &mut Option<B>,
    interim: Interim<'_>,
) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
{
    let &Asked { head, client, .. } = asked;
    let is_complete = Fields::of(&head.headers).complete;
    let done = match (&head.method, Token::of(head.uri.query())) {
        (&Method::POST, _) if !form::is_of_this_site(asked) => Err(Refusal::OtherSite),
        (&Method::POST, _) if is_complete.is_none() => {
            form::post(tree, upload, head, content).await
        }
        // One of which all comes is continued if its client knows where.
        (&Method::POST | &Method::PUT, _)
            if is_complete == Some(false) || is_complete.is_some() && interim.is_some() =>
        {
            resume::create(tree, upload, head, content, interim).await
        }
        (&Method::POST | &Method::PUT, _) | (_, None) => {
            put(tree, upload, head, content).await.map(done)
        }
        (_, Some(token)) => resume::continue_with(tree, upload, token, head, content).await,
    };
    done.unwrap_or_else(|refusal| {
        if refusal.is_of_this_end() {
            let (path, status) = (head.uri.path().escape_debug(), refusal.status());
            let (method, why) = (&head.method, chain(&refusal));
            tracing::warn!("{method} {path} of {}: {status}: {why}", Client(client));
        }
        let mut answer = refusal.into_answer();
        if answer.status == StatusCode::PAYLOAD_TOO_LARGE {
            answer.headers.insert(fields::LIMIT, fields::limit(upload.bytes_max, None));
        }
        answer
    })
}

/// Says whether another file was there.
async fn put<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    head: &Parts,
    content: &mut Option<B>,
) -> Result<bool, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let wanted = Arc::new(Wanted::of(head, upload, &tree.options)?);
    let (place, _turn) = begin(tree, upload, &wanted, Place::make).await?;
    let content = content.take().ok_or(Refusal::Incomplete)?;
    let place = receive(content, place, upload.bytes_max).await?;
    name(tree, upload, wanted, place).await
}

/// Makes the place of a file, if it is the turn of one more.
async fn begin<'u>(
    tree: &Arc<Tree>,
    upload: &'u Arc<Upload>,
    wanted: &Arc<Wanted>,
    make: fn(&Root, &Upload, &Wanted) -> Result<Place, Refusal>,
) -> Result<(Place, SemaphorePermit<'u>), Refusal> {
    let turn = upload.shared.under_way.try_acquire().map_err(|_| Refusal::Busy)?;
    let (tree, of, wanted) = (Arc::clone(tree), Arc::clone(upload), Arc::clone(wanted));
    let make = move || make(&*tree.root.get(Wait::Allowed)?, &of, &wanted);
    Ok((wait(make).await?, turn))
}

/// Gives a file that is whole its name, and says whether another file had that.
async fn name(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    wanted: Arc<Wanted>,
    place: Place,
) -> Result<bool, Refusal> {
    let path = wanted.path();
    let upload = Arc::clone(upload);
    let was_there = wait(move || place.name(&upload, &wanted)).await?;
    tree.forget(&path);
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
    Answer { status, headers, content: Content::Empty, cached: None }
}

#[cfg(test)]
mod tests;
