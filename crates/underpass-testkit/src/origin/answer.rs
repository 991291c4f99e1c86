//! What an origin answers where nothing goes wrong: conditions and ranges as RFC 9110 has them.

use std::ops::Range;

use super::object::{Framing, Object};
use super::request::Request;

/// Bytes of an object, as a request asks for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// From here to there, both within.
    Within(u64, u64),
    /// From here on.
    From(u64),
    /// That many at the end.
    Last(u64),
}

impl Part {
    /// Of a Range field; of several ranges this origin knows nothing.
    pub(super) fn parse(field: &str) -> Option<Self> {
        let (first, last) = field.strip_prefix("bytes=")?.split_once('-')?;
        match (first, last) {
            ("", last) => last.parse().ok().map(Self::Last),
            (first, "") => first.parse().ok().map(Self::From),
            (first, last) => Some(Self::Within(first.parse().ok()?, last.parse().ok()?)),
        }
    }

    /// Which of `len` bytes these are; `None` if there is no such byte.
    fn of(self, len: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::Within(first, last) => first..len.min(last.saturating_add(1)),
            Self::From(first) => first..len,
            Self::Last(bytes) => len.saturating_sub(bytes)..len,
        };
        (range.start < range.end).then_some(range)
    }
}

/// The head of an answer, and which bytes follow it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) fields: Vec<(String, String)>,
    pub(super) content: Range<u64>,
    pub(super) framing: Framing,
}

impl Answer {
    /// One without content.
    pub(super) fn of_status(status: u16) -> Self {
        Self { status, fields: Vec::new(), content: 0..0, framing: Framing::Length }
    }

    /// What a request for an object gets.
    pub(super) fn of(
        request: &Request,
        object: &Object,
        has_conditions: bool,
        has_ranges: bool,
    ) -> Self {
        let is_plain = object.status == 200;
        if has_conditions && is_plain {
            match condition(request, object) {
                Some(412) => return Self::of_status(412),
                Some(status) => return Self { content: 0..0, ..Self::whole(status, object) },
                None => {}
            }
        }
        let part = request.range().filter(|_| has_ranges && object.has_ranges && is_plain);
        let if_range = request.field("If-Range").filter(|_| has_conditions);
        let Some(part) = part.filter(|_| if_range.is_none_or(|it| is_the_same(it, object))) else {
            return Self::whole(object.status, object);
        };
        let len = object.len();
        let Some(range) = part.of(len) else {
            let mut answer = Self::of_status(416);
            answer.fields.push(("Content-Range".to_owned(), format!("bytes */{len}")));
            return answer;
        };
        let mut answer = Self::whole(206, object);
        let said = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        answer.fields.push(("Content-Range".to_owned(), said));
        Self { content: range, ..answer }
    }

    fn whole(status: u16, object: &Object) -> Self {
        let mut fields = object.fields.clone();
        let own = [("ETag", object.tag()), ("Last-Modified", object.last_modified())];
        let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        fields.extend(own);
        if object.has_ranges {
            fields.push(("Accept-Ranges".to_owned(), "bytes".to_owned()));
        }
        Self { status, fields, content: 0..object.len(), framing: object.framing }
    }
}

/// The status that a condition leads to, in the order of RFC 9110 §13.2.2. Dates count where they
/// are the same, as nginx has it by default.
fn condition(request: &Request, object: &Object) -> Option<u16> {
    let modified = object.last_modified();
    let is_modified = |date: &str| modified.as_deref() != Some(date);
    if let Some(tags) = request.field("If-Match") {
        let is_one = tags == "*" || lists(tags, &object.tag(), true);
        if !is_one {
            return Some(412);
        }
    } else if request.field("If-Unmodified-Since").is_some_and(is_modified) {
        return Some(412);
    }
    let is_kept = match request.field("If-None-Match") {
        Some(tags) => tags == "*" || lists(tags, &object.tag(), false),
        None => request.field("If-Modified-Since").is_some_and(|date| !is_modified(date)),
    };
    is_kept.then_some(304)
}

/// Whether a list of tags has this one; a weak one is not the same where strong ones are compared.
fn lists(tags: &str, tag: &Option<String>, strongly: bool) -> bool {
    let Some(tag) = tag else { return false };
    let opaque = |tag: &str| tag.strip_prefix("W/").map(str::to_owned);
    tags.split(',').map(str::trim).any(|one| match strongly {
        true => one == tag && opaque(one).is_none(),
        false => {
            opaque(one).unwrap_or_else(|| one.to_owned())
                == opaque(tag).unwrap_or_else(|| tag.clone())
        }
    })
}

/// Whether an If-Range names this object.
fn is_the_same(if_range: &str, object: &Object) -> bool {
    if if_range.starts_with('"') || if_range.starts_with("W/") {
        return lists(if_range, &object.tag(), true);
    }
    object.last_modified().as_deref() == Some(if_range)
}
