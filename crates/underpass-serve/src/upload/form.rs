//! Files of a form, for browsers without a script: all of them are put in place, or none.
//!
//! Each is written to its place as it comes. They have their names once the form is whole, so that
//! it can be sent again if it is not.
//!
//! Source: RFC 7578; HTML, "Form submission"; RFC 6454 §7 (Origin); W3C Fetch Metadata, §2.3
//! (`Sec-Fetch-Site`); RFC 9110 §15.4.4 (303).

use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, ORIGIN};
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode};
use http_body::Body;
use tokio::sync::SemaphorePermit;

use super::parts::{Event, Parts};
use super::place::Place;
use super::receive::{Arriving, Writing};
use super::{Refusal, Upload, Wanted, begin, name};
use crate::answer::Answer;
use crate::conditional::sole;
use crate::stations::Asked;
use crate::target::Target;
use crate::tree::Tree;

/// Files of a form: each has one of the places for uploads.
const FILES_MAX: usize = 64;

/// What is read of other parts, and after the last.
const OTHERS_BYTES_MAX: usize = 64 << 10;

/// A file of the form.
struct File<'u, W> {
    wanted: Arc<Wanted>,
    at: W,
    turn: SemaphorePermit<'u>,
}

/// Whether a page of this site sent the request, or no browser did: all that there are say of which
/// origin a form is, and no page can have them say something else.
pub(super) fn is_of_this_site(asked: &Asked<'_>) -> bool {
    let headers = &asked.head.headers;
    if headers.contains_key("sec-fetch-site") {
        let site = headers.get_all("sec-fetch-site");
        return site.iter().all(|site| site == "same-origin" || site == "none");
    }
    if !headers.contains_key(ORIGIN) {
        return true;
    }
    let host = |origin: &'_ HeaderValue| {
        let text = origin.to_str().ok()?;
        Some(text.split_once("://")?.1.as_bytes().to_owned())
    };
    let origin = sole(headers, &ORIGIN).and_then(host);
    // A proxy may have ended TLS: the scheme is not compared.
    origin.is_some_and(|it| asked.host().is_some_and(|host| host.eq_ignore_ascii_case(&it)))
}

/// Puts the files of a form into its directory, and leads back to it.
pub(super) async fn post<B>(
    tree: &Arc<Tree>,
    upload: &Arc<Upload>,
    head: &Head,
    content: &mut Option<B>,
) -> Result<Answer, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let target = Target::parse(head.uri.path()).map_err(|_| Refusal::Target)?;
    let parts = Parts::of(&head.headers)?;
    let content = content.take().ok_or(Refusal::Incomplete)?;
    let files = receive(tree, upload, &target, parts, Arriving::new(content)).await?;
    if files.is_empty() {
        return Err(Refusal::NoFile);
    }
    for File { wanted, at: place, turn: _turn } in files {
        let shown = shown(&wanted.name);
        name(tree, upload, wanted, place).await.map_err(|why| why.of(shown))?;
    }
    let location = HeaderValue::try_from(target.to_reference()).map_err(|_| Refusal::Target)?;
    Ok(Answer::redirect(StatusCode::SEE_OTHER, location))
}

async fn receive<'u, B>(
    tree: &Arc<Tree>,
    upload: &'u Arc<Upload>,
    directory: &Target<'_>,
    mut parts: Parts,
    mut arriving: Arriving<B>,
) -> Result<Vec<File<'u, Place>>, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut files, mut current, mut others) = (Vec::new(), None::<File<'u, Writing>>, 0);
    loop {
        match parts.next()? {
            Event::More => {
                let piece = arriving.next().await?.ok_or(Refusal::Incomplete)?;
                parts.add(&piece);
            }
            Event::Begin(Some(name)) if !name.is_empty() => {
                let is_again = |file: &File<'_, Place>| file.wanted.name == name;
                if files.len() == FILES_MAX || files.iter().any(is_again) {
                    let why = if files.len() == FILES_MAX { Refusal::Many } else { Refusal::Twice };
                    return Err(why.of(shown(&name)));
                }
                let file = start(tree, upload, directory, &name).await;
                current = Some(file.map_err(|why| why.of(shown(&name)))?);
            }
            Event::Begin(_) => {}
            Event::Content(bytes) => match current.take() {
                Some(file) => current = Some(file.add(bytes).await?),
                None => {
                    others += bytes.len();
                    if others > OTHERS_BYTES_MAX {
                        return Err(Refusal::Malformed);
                    }
                }
            },
            Event::End => {
                if let Some(File { wanted, at, turn }) = current.take() {
                    let at = at.finish().await.map_err(|why| why.of(shown(&wanted.name)))?;
                    files.push(File { wanted, at, turn });
                }
            }
            Event::Over => break,
        }
    }
    while let Some(piece) = arriving.next().await? {
        others += piece.len();
        if others > OTHERS_BYTES_MAX {
            return Err(Refusal::Malformed);
        }
    }
    Ok(files)
}

async fn start<'u>(
    tree: &Arc<Tree>,
    upload: &'u Arc<Upload>,
    directory: &Target<'_>,
    name: &[u8],
) -> Result<File<'u, Writing>, Refusal> {
    if name.contains(&b'/') || name.contains(&0) || matches!(name, b"." | b"..") {
        return Err(Refusal::Segment);
    }
    let path = directory.join(name);
    if !upload.is_for_path(&path) {
        return Err(Refusal::Pattern);
    }
    let wanted = Arc::new(Wanted::at(&path, HeaderMap::new(), None, &tree.options)?);
    let (place, turn) = begin(tree, upload, &wanted, Place::make).await?;
    Ok(File { wanted, at: Writing::new(place, upload.bytes_max), turn })
}

impl File<'_, Writing> {
    async fn add(self, bytes: Bytes) -> Result<Self, Refusal> {
        let Self { wanted, at, turn } = self;
        let at = at.add(bytes).await.map_err(|why| why.of(shown(&wanted.name)))?;
        Ok(Self { wanted, at, turn })
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}
