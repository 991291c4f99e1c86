//! The service: from the head of a request to its answer.
//!
//! A file asked for again is answered from the open-file cache without a system call. Otherwise
//! the look-up is tried without waiting, on the worker, and only if the kernel's name cache
//! lacks the answer on a thread that may wait; listings are always made there.
//!
//! Source: RFC 9110 §9.3.1, §9.3.2, §15.4.9 (308).

mod directory;
#[cfg(feature = "remote")]
mod of_bucket;
#[cfg(feature = "remote")]
mod of_origin;
#[cfg(not(feature = "remote"))]
mod without_origin;

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderValue, VARY};
use http::request::Parts;
use http::{Method, StatusCode, Uri};
use http_body::Body;
use rustix::io::Errno;
use tokio::time::{Duration, Instant, sleep};
use underpass::Stability;

use crate::accepts::accepts_html;
use crate::answer::Answer;
use crate::current_root::CurrentRoot;
use crate::encoding;
use crate::error_pages;
use crate::lookup::FilePath;
use crate::plain_request::PlainRequest;
use crate::refusal::{Refusal, chain, check_message};
use crate::representation::Representation;
use crate::root::{OpenError, Root, Wait};
use crate::sending::Client;
use crate::site_options::SiteOptions;
use crate::stations::{Asked, Stations, Step};
use crate::target::Target;
use crate::to_https;
use crate::tree::{FRESH_FOR, KeptFiles, Resource, Tree, is_for_want_of_room};
use crate::upload::{self, Interim};

/// How long a request waits for a descriptor before it is a 503.
const PATIENCE: Duration = Duration::from_secs(10);

/// What Vary says where a page may stand in.
const ACCEPT: HeaderValue = HeaderValue::from_static("Accept");

/// How often such a request tries again.
const PAUSE: Duration = Duration::from_millis(20);

/// Answers requests for what is beneath one directory. Each worker has one.
#[derive(Debug, Clone)]
pub struct Service {
    tree: Arc<Tree>,
}

impl Service {
    /// A service for `root` that keeps up to `open_files_max` files open and mapped.
    #[must_use]
    pub fn new(root: Root, open_files_max: NonZeroUsize, stability: Stability) -> Self {
        let options = SiteOptions { stability, ..SiteOptions::new(root.path().into()) };
        Self::with(root, open_files_max, options)
    }

    fn with(root: Root, open_files_max: NonZeroUsize, options: SiteOptions) -> Self {
        let files = KeptFiles::of_workers(1, open_files_max).remove(0);
        let root = root.following(options.lookup.symlinks);
        let root = Arc::new(CurrentRoot::new(root, FRESH_FOR));
        Self::of(Tree::new(root, files, Arc::new(options)))
    }

    pub(crate) fn of(tree: Tree) -> Self {
        Self { tree: Arc::new(tree) }
    }

    /// Closes files that are only kept in case that they are asked for again.
    pub(crate) fn give_way(&self) {
        self.tree.files.give_way();
    }

    fn stations(&self) -> &Stations {
        &self.tree.options.stations
    }

    /// Answers a request that needs no look-up: its file is open, or a station answers.
    #[must_use]
    pub fn respond_at_once(&self, asked: &Asked<'_>) -> Option<Answer> {
        let Some(prefix) = &self.tree.options.prefix else { return self.answer_at_once(asked) };
        match prefix.strip(asked.head) {
            Ok(head) => {
                let answer = self.answer_at_once(&Asked { head: &head, ..*asked })?;
                Some(prefix.put_before(answer))
            }
            Err(_) => None,
        }
    }

    fn answer_at_once(&self, asked: &Asked<'_>) -> Option<Answer> {
        let answer = match self.admit(asked) {
            Step::Go => self.kept(asked.head)?,
            Step::Answer(answer) => answer,
            Step::Wait(_) => return None,
        };
        if self.tree.options.error_pages.of(answer.status).is_some() {
            return None;
        }
        Some(self.dress(asked, answer))
    }

    /// The file that a plain request gets as it is: it is kept, and no station has a say.
    pub(crate) fn plain(&self, request: &PlainRequest<'_>) -> Option<Arc<Representation>> {
        let prefix = self.tree.options.prefix.as_ref();
        let request = prefix.map_or(Some(*request), |prefix| prefix.strip_plain(request))?;
        let target = Target::parse(request.path()).ok()?;
        if !self.stations().let_plain_pass(&target, &self.tree.options.lookup) {
            return None;
        }
        if self.has_origin() {
            return self.plain_of_origin(&request);
        }
        let kept = self.tree.kept(&target)?;
        // One with siblings is chosen by a field that is not looked at here.
        (self.tree.options.codings.is_empty() || kept.siblings().get().is_none()).then_some(kept)
    }

    /// Answers one request; what goes wrong is an answer too. Must run within a tokio runtime.
    ///
    /// What goes wrong here, and not with the request, is warned of with the path and the client.
    /// Dropping the future loses nothing but a look-up.
    pub async fn respond(&self, asked: &Asked<'_>) -> Answer {
        let Some(prefix) = &self.tree.options.prefix else { return self.respond_here(asked).await };
        match prefix.strip(asked.head) {
            Ok(head) => {
                prefix.put_before(self.respond_here(&Asked { head: &head, ..*asked }).await)
            }
            Err(answer) => self.respond_elsewhere(asked, *answer).await,
        }
    }

    /// The answer to a request that is not for what is beneath the prefix.
    async fn respond_elsewhere(&self, asked: &Asked<'_>, answer: Answer) -> Answer {
        let answer = match check_message(asked.head) {
            Ok(()) => answer,
            Err(refusal) => Answer::error(refusal.status()),
        };
        self.complete(asked, answer).await
    }

    async fn respond_here(&self, asked: &Asked<'_>) -> Answer {
        let answer = self.follow(self.admit(asked), asked).await;
        self.complete(asked, answer).await
    }

    /// Answers a request in the clear next to https, of which `port` is the port.
    pub(crate) async fn send_to_https(&self, asked: &Asked<'_>, port: u16) -> Answer {
        let Some(path) = to_https::challenge(asked) else { return to_https::answer(asked, port) };
        match self.stand_in(&path).await {
            Ok(file) => {
                let Parts { method, headers, .. } = asked.head;
                let ranges_max = self.tree.options.ranges_max.get();
                let answer = to_https::in_the_clear(Answer::of(method, headers, &file, ranges_max));
                if *method == Method::HEAD { answer.without_content() } else { answer }
            }
            Err(refusal) => {
                warn_of(&refusal, asked);
                to_https::answer(asked, port)
            }
        }
    }

    /// Whether a request that puts something in place may be more than one of a wrong method.
    pub(crate) fn takes_uploads(&self) -> bool {
        self.stations().upload.is_some()
    }

    /// The name whose password came with a request that was asked for one.
    pub(crate) fn user_of(&self, asked: &Asked<'_>) -> Option<Box<str>> {
        let prefix = self.tree.options.prefix.as_ref();
        let stripped = prefix.and_then(|prefix| prefix.strip(asked.head).ok());
        let asked = Asked { head: stripped.as_ref().unwrap_or(asked.head), ..*asked };
        self.stations().user_of(&asked, &self.tree.options.lookup)
    }

    /// Answers such a request, whose content is taken if it is read.
    pub(crate) async fn take<B>(
        &self,
        asked: &Asked<'_>,
        content: &mut Option<B>,
        interim: Interim<'_>,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Some(prefix) = &self.tree.options.prefix else {
            return self.take_here(asked, content, interim).await;
        };
        match prefix.strip(asked.head) {
            Ok(head) => {
                let asked = Asked { head: &head, ..*asked };
                let with_prefix = |answer| {
                    if let Some(interim) = interim {
                        interim(prefix.put_before(answer));
                    }
                };
                let interim = interim.map(|_| &with_prefix as &dyn Fn(Answer));
                prefix.put_before(self.take_here(&asked, content, interim).await)
            }
            Err(answer) => self.respond_elsewhere(asked, *answer).await,
        }
    }

    async fn take_here<B>(
        &self,
        asked: &Asked<'_>,
        content: &mut Option<B>,
        interim: Interim<'_>,
    ) -> Answer
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let step = match check_message(asked.head) {
            Ok(()) => self.stations().before_upload(asked, &self.tree.options.lookup),
            Err(refusal) => Step::Answer(Answer::error(refusal.status())),
        };
        let refused = match step {
            Step::Go => None,
            Step::Answer(answer) => Some(answer),
            Step::Wait(work) => work.await,
        };
        let answer = match (refused, &self.stations().upload) {
            (Some(answer), _) => answer,
            (None, Some(upload)) => {
                upload::answer(&self.tree, upload, asked, content, interim).await
            }
            (None, None) => Answer::error(StatusCode::METHOD_NOT_ALLOWED),
        };
        self.complete(asked, answer).await
    }

    async fn complete(&self, asked: &Asked<'_>, answer: Answer) -> Answer {
        let answer = self.with_page(answer).await;
        self.dress(asked, answer)
    }

    /// Adds what does not depend on the file.
    fn dress(&self, asked: &Asked<'_>, mut answer: Answer) -> Answer {
        let is_other = |status: StatusCode| status.as_u16() >= 300 && status != 304;
        if is_other(answer.status)
            && let Ok(target) = Target::parse(asked.head.uri.path())
        {
            self.tree.options.fields.add_to_other(target.as_bytes(), &mut answer.headers);
        }
        self.stations().after(asked, &self.tree.options.lookup, answer)
    }

    fn admit(&self, asked: &Asked<'_>) -> Step {
        match check_message(asked.head) {
            Ok(()) => match self.purge(asked) {
                Some(answer) => Step::Answer(answer),
                None => self.stations().before(asked, &self.tree.options.lookup),
            },
            Err(refusal) => Step::Answer(Answer::error(refusal.status())),
        }
    }

    fn kept(&self, request: &Parts) -> Option<Answer> {
        if self.has_origin() {
            return self.kept_of_origin(request);
        }
        let target = Target::parse(request.uri.path()).ok()?;
        let kept = self.tree.kept(&target)?;
        Some(self.answer(request, &kept))
    }

    fn answer(&self, request: &Parts, file: &Arc<Representation>) -> Answer {
        let SiteOptions { codings, ranges_max, .. } = &*self.tree.options;
        let of = |file| Answer::of(&request.method, &request.headers, file, ranges_max.get());
        let siblings = if codings.is_empty() { None } else { file.siblings().get() };
        let Some(siblings) = siblings else { return of(file) };
        let chosen = encoding::choose(&request.headers, siblings.iter().map(|it| it.coding));
        let mut answer = of(chosen.map_or(file, |at| &siblings[at].file));
        // RFC 9110 §12.5.5: also where the file as it is was chosen, and in a 304, 412 and 416.
        answer.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
        answer
    }

    async fn follow(&self, step: Step, asked: &Asked<'_>) -> Answer {
        match step {
            Step::Go => self.look_up(asked).await,
            Step::Answer(answer) => answer,
            Step::Wait(work) => match work.await {
                Some(answer) => answer,
                None => self.look_up(asked).await,
            },
        }
    }

    async fn look_up(&self, asked: &Asked<'_>) -> Answer {
        self.find_with_patience(asked.head).await.unwrap_or_else(|refusal| {
            let status = refusal.status();
            warn_of(&refusal, asked);
            let mut answer = Answer::error(status);
            if status == StatusCode::NOT_FOUND && self.tree.options.lookup.fallback.is_some() {
                answer.headers.append(VARY, ACCEPT);
            }
            answer
        })
    }

    /// Waits a while for what other responses will give back, where kept files have given way and
    /// that was not enough.
    async fn find_with_patience(&self, request: &Parts) -> Result<Answer, Refusal> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.find(request).await {
                Err(refusal) if is_for_want_of_room(&refusal) && Instant::now() < end => {
                    self.tree.files.give_way();
                    sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn find(&self, request: &Parts) -> Result<Answer, Refusal> {
        let found = self.find_target(request).await;
        match (found, &self.tree.options.lookup.fallback) {
            (Err(refusal), Some(fallback)) if refusal.is_absent() => {
                self.fall_back(request, fallback, refusal).await
            }
            (found, _) => found,
        }
    }

    /// RFC 9110 §12.5.5: who is answered with the page, and who with a 404, is up to Accept.
    async fn fall_back(
        &self,
        request: &Parts,
        fallback: &FilePath,
        refusal: Refusal,
    ) -> Result<Answer, Refusal> {
        if !accepts_html(&request.headers) {
            return Err(refusal);
        }
        match self.stand_in(fallback).await {
            Err(other) if other.is_absent() => Err(refusal),
            Err(other) => Err(other),
            Ok(page) => {
                let mut answer = self.answer(request, &page);
                answer.headers.append(VARY, ACCEPT);
                Ok(answer)
            }
        }
    }

    /// An error with the site's page for it. One step: a page that is not there is the text.
    async fn with_page(&self, answer: Answer) -> Answer {
        let Some(path) = self.tree.options.error_pages.of(answer.status) else { return answer };
        match self.stand_in(path).await {
            Ok(page) => error_pages::with_page(answer, &page),
            Err(refusal) => {
                tracing::debug!("{path} for a {}: {}", answer.status, chain(&refusal));
                answer
            }
        }
    }

    /// A file of the site's own that stands in for another.
    async fn stand_in(&self, path: &FilePath) -> Result<Arc<Representation>, Refusal> {
        match self.tree.stand_in(path, Wait::Never) {
            Err(Refusal::Open(OpenError::WouldWait)) => {
                let path = path.clone();
                self.wait(move |tree| tree.stand_in(&path, Wait::Allowed)).await
            }
            found => found,
        }
    }

    async fn find_target(&self, request: &Parts) -> Result<Answer, Refusal> {
        if self.has_origin() {
            return self.find_at_origin(request).await;
        }
        let target = Target::parse(request.uri.path())?;
        if let Some(kept) = self.tree.kept(&target) {
            return Ok(self.answer(request, &kept));
        }
        let resource = match self.tree.look_up(target.as_bytes(), Wait::Never) {
            Err(Refusal::Open(OpenError::WouldWait)) => {
                let path = target.as_bytes().to_vec();
                self.wait(move |tree| tree.look_up(&path, Wait::Allowed)).await?
            }
            found => found?,
        };
        match resource {
            Resource::File(file) => Ok(self.answer(request, &file)),
            Resource::Unslashed => Ok(redirect_to_slash(&target, &request.uri)),
            Resource::Directory(directory) => {
                self.directory(target.as_bytes(), directory, request).await
            }
        }
    }

    /// Runs `work` on a thread that may wait.
    async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let tree = Arc::clone(&self.tree);
        let done = tokio::task::spawn_blocking(move || work(&tree)).await;
        // It is cancelled if the runtime stops meanwhile.
        done.unwrap_or(Err(OpenError::Exhausted(Errno::CANCELED).into()))
    }
}

/// Tells the operator of what is wrong here, and not with the request.
fn warn_of(refusal: &Refusal, asked: &Asked<'_>) {
    if refusal.is_of_this_end() {
        let (path, client) = (asked.head.uri.path(), Client(asked.client));
        tracing::warn!("{path} to {client}: {}: {}", refusal.status(), chain(refusal));
    }
}

/// The same target with a slash at its end, so that relative references of the directory's page
/// resolve; the query is kept.
fn redirect_to_slash(target: &Target<'_>, uri: &Uri) -> Answer {
    let mut location = target.to_reference();
    location.push('/');
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    HeaderValue::try_from(location).map_or_else(
        |_| Answer::error(StatusCode::BAD_REQUEST),
        |location| Answer::redirect(StatusCode::PERMANENT_REDIRECT, location),
    )
}

#[cfg(test)]
mod tests;
