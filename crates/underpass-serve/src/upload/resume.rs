//! The requests of an upload that may be continued: one that begins it, and those for its URL.
//!
//! The URL is that of the file with a token in its query, so that one who may put the file, and
//! knows the token, may continue it.
//!
//! Source: draft-ietf-httpbis-resumable-upload-12, §4.2 (creation), §4.3 (offset), §4.4 (append),
//! §4.5 (cancellation); RFC 5789 §3.1 (Accept-Patch).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, LOCATION};
use http::request::Parts as Head;
use http::{Method, StatusCode};
use http_body::Body;

use super::fields::{COMPLETE, Fields, LENGTH, LIMIT, OFFSET, boolean, is_partial, limit};
use super::partial::{AGE_MAX, Mine, Partial, State, Token};
use super::place::Place;
use super::receive::{Arriving, Writing};
use super::{Interim, Refusal, Upload, Wanted, begin, done, name};
use crate::answer::{Answer, Content};
use crate::target::{self, Target};
use crate::tree::Tree;

/// Begins an upload. What comes with this request is kept, and may be all of it.
pub(super) async fn create<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    head: &Head,
    content: &mut Option<B>,
    interim: Interim<'_>,
) -> Result<Answer, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let fields = Fields::of(&head.headers);
    let length = fields.length(0, None)?;
    let wanted = Wanted { len: length, ..Wanted::of(head, upload, &tree.options)? };
    if length.is_some_and(|length| length > upload.bytes_max) {
        return Err(Refusal::TooLarge);
    }
    let wanted = Arc::new(wanted);
    let (place, _turn) = begin(tree, upload, &wanted, Place::make_kept).await?;
    let partials = &upload.shared.partials;
    let (token, partial, mine, place) =
        partials.add(&tree.root, &wanted, place, upload.bytes_max).await?;
    let location = format!("/{}?{token}", target::encode(&wanted.path()));
    let location = HeaderValue::try_from(location).map_err(|_| Refusal::Target)?;
    if let Some(interim) = interim {
        let limit = (LIMIT, limit(upload.bytes_max, Some(AGE_MAX)));
        let headers = HeaderMap::from_iter([(LOCATION, location.clone()), limit]);
        interim(Answer {
            status: resumption_supported(),
            headers,
            content: Content::Empty,
            cached: None,
        });
    }
    let content = content.take().ok_or(Refusal::Incomplete)?;
    let appending = Appending { tree, upload, partial: &partial, token, mine };
    let place = appending.append(place, Arriving::new(content)).await?;
    if fields.complete == Some(true) {
        return complete(tree, upload, &partial, token, place).await;
    }
    drop(place);
    let mut answer = done(false);
    answer.headers.insert(LOCATION, location);
    tell(&mut answer.headers, &partial.state(), upload);
    Ok(answer)
}

/// The status code of interim answers.
fn resumption_supported() -> StatusCode {
    StatusCode::from_u16(104).expect("it has three digits")
}

/// Gives a file that is whole its name. That this fails is an answer too: nothing is left to come.
async fn complete(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    partial: &Partial,
    token: Token,
    place: Place,
) -> Result<Answer, Refusal> {
    let State { offset, length, .. } = partial.state();
    if length.is_some_and(|length| length != offset) {
        return Err(Refusal::Length);
    }
    let named = name(tree, upload, Arc::clone(&partial.wanted), place.unkept()).await;
    partial.note(|state| state.is_complete = true);
    let mut answer = match named {
        Ok(was_there) => done(was_there),
        Err(refusal) => {
            upload.shared.partials.remove(&tree.root, token).await;
            refusal.into_answer()
        }
    };
    answer.headers.insert(OFFSET, offset.into());
    answer.headers.insert(COMPLETE, boolean(true));
    Ok(answer)
}

/// Answers a request for the URL of an upload.
pub(super) async fn continue_with<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    token: Token,
    head: &Head,
    content: &mut Option<B>,
) -> Result<Answer, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let target = Target::parse(head.uri.path()).map_err(|_| Refusal::Target)?;
    let partials = &upload.shared.partials;
    let partial = partials.find(token, target.as_bytes())?;
    let mine = partial.take_over().await?;
    match head.method {
        Method::DELETE => {
            partials.remove(&tree.root, token).await;
            Ok(nothing())
        }
        Method::PATCH => {
            let appending = Appending { tree, upload, partial: &partial, token, mine };
            appending.answer(head, content).await
        }
        _ => {
            if !partial.state().is_complete {
                let offset = partial.open(&tree.root).await?.len();
                partial.note(|state| state.offset = offset);
            }
            let mut answer = nothing();
            tell(&mut answer.headers, &partial.state(), upload);
            answer.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            Ok(answer)
        }
    }
}

/// A request that appends to an upload.
struct Appending<'a> {
    tree: &'a Arc<Tree>,
    upload: &'a Arc<Upload>,
    partial: &'a Arc<Partial>,
    token: Token,
    mine: Mine,
}

impl Appending<'_> {
    async fn answer<B>(self, head: &Head, content: &mut Option<B>) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Self { tree, upload, partial, token, .. } = self;
        let fields = Fields::of(&head.headers);
        if !is_partial(&head.headers) {
            return Err(Refusal::NotPartial);
        }
        let (Some(offset), Some(is_last)) = (fields.offset, fields.complete) else {
            return Err(Refusal::NoOffset);
        };
        let State { length: known, is_complete, .. } = partial.state();
        if is_complete {
            let is_empty = fields.content == Some(0);
            return Err(if is_empty { Refusal::Completed } else { Refusal::Length });
        }
        let _turn = upload.shared.under_way.try_acquire().map_err(|_| Refusal::Busy)?;
        let place = partial.open(&tree.root).await?;
        if place.len() != offset {
            return Err(Refusal::Offset { expected: place.len(), provided: offset });
        }
        let length = fields.length(offset, known)?;
        if length.is_some_and(|length| length > upload.bytes_max) {
            return Err(Refusal::TooLarge);
        }
        partial.note(|state| (state.offset, state.length) = (offset, length));
        let content = content.take().ok_or(Refusal::Incomplete)?;
        let place = self.append(place, Arriving::new(content)).await?;
        if is_last {
            return complete(tree, upload, partial, token, place).await;
        }
        drop(place);
        let mut answer = nothing();
        tell(&mut answer.headers, &partial.state(), upload);
        Ok(answer)
    }

    /// Appends what comes. If it is cut, what has come is kept; if it is too much, or there is no
    /// room for it, nothing.
    async fn append<B>(mut self, place: Place, mut arriving: Arriving<B>) -> Result<Place, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let length = self.partial.state().length.unwrap_or(self.upload.bytes_max);
        let room = length.saturating_sub(place.len());
        let appended = self.append_all(Writing::new(place, room), &mut arriving).await;
        match appended {
            Ok((place, end)) => {
                self.partial.note(|state| state.offset = place.len());
                end.map(|()| place)
            }
            Err(refusal) => {
                self.upload.shared.partials.remove(&self.tree.root, self.token).await;
                Err(refusal)
            }
        }
    }

    async fn append_all<B>(
        &mut self,
        mut writing: Writing,
        arriving: &mut Arriving<B>,
    ) -> Result<(Place, Result<(), Refusal>), Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        loop {
            match self.mine.unless_superseded(arriving.next()).await {
                Ok(Some(piece)) => writing = writing.add(piece).await?,
                Ok(None) => return Ok((writing.finish().await?, Ok(()))),
                Err(cut) => return Ok((writing.finish().await?, Err(cut))),
            }
        }
    }
}

/// What is known of an upload.
fn tell(headers: &mut HeaderMap, state: &State, upload: &Upload) {
    headers.insert(OFFSET, state.offset.into());
    headers.insert(COMPLETE, boolean(state.is_complete));
    headers.extend(state.length.map(|length| (LENGTH, length.into())));
    headers.insert(LIMIT, limit(upload.bytes_max, Some(AGE_MAX)));
}

fn nothing() -> Answer {
    let headers = HeaderMap::new();
    Answer { status: StatusCode::NO_CONTENT, headers, content: Content::Empty, cached: None }
}
