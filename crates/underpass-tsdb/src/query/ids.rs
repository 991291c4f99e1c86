//! Series of one block, in ascending order, as postings lists and what is made of them.

use crate::damage::Damage;
use crate::index::{Postings, SeriesId};

/// Series of one block, in ascending order.
#[derive(Debug)]
pub(super) enum Ids<'b> {
    /// Those of a postings list.
    List(Postings<'b>),
    /// These.
    Some(std::vec::IntoIter<SeriesId>),
    /// Those that all of these have.
    Common(Vec<Head<'b>>),
    /// Those that any of these has.
    Any(Vec<Head<'b>>),
    /// Those of the first that the second does not have.
    Without(Box<Self>, Head<'b>),
}

/// Ids of which one was looked at already.
#[derive(Debug)]
pub(super) struct Head<'b> {
    ids: Box<Ids<'b>>,
    /// The one that was looked at; `None` before the first and behind the last.
    current: Option<SeriesId>,
    is_at_end: bool,
}

type Next = Result<Option<SeriesId>, Damage>;

impl Ids<'_> {
    /// The next series.
    pub(super) fn next(&mut self) -> Next {
        match self {
            Self::List(postings) => postings.next_id(),
            Self::Some(ids) => Ok(ids.next()),
            Self::Common(heads) => common(heads, None),
            Self::Any(heads) => any(heads, None),
            Self::Without(ids, refused) => {
                let next = ids.next()?;
                without(ids, refused, next)
            }
        }
    }

    /// The next series that is not before `least`.
    fn seek(&mut self, least: SeriesId) -> Next {
        match self {
            Self::List(postings) => postings.seek(least),
            Self::Some(ids) => {
                let passed = ids.as_slice().partition_point(|id| *id < least);
                Ok(ids.nth(passed))
            }
            Self::Common(heads) => common(heads, Some(least)),
            Self::Any(heads) => any(heads, Some(least)),
            Self::Without(ids, refused) => {
                let next = ids.seek(least)?;
                without(ids, refused, next)
            }
        }
    }
}

impl<'b> From<Ids<'b>> for Head<'b> {
    fn from(ids: Ids<'b>) -> Self {
        Self { ids: Box::new(ids), current: None, is_at_end: false }
    }
}

impl<'b> Head<'b> {
    /// All of them; none was looked at yet.
    pub(super) fn into_ids(self) -> Ids<'b> {
        *self.ids
    }
}

impl<'b> Head<'b> {
    /// The first series that is not before `least`, which stays the one that is looked at.
    fn at_least(&mut self, least: SeriesId) -> Next {
        if self.is_at_end || self.current.is_some_and(|current| current >= least) {
            return Ok(self.current);
        }
        self.take(|ids| ids.seek(least))
    }

    fn advance(&mut self) -> Next {
        if self.is_at_end { Ok(None) } else { self.take(Ids::next) }
    }

    fn take(&mut self, step: impl FnOnce(&mut Ids<'b>) -> Next) -> Next {
        self.current = step(&mut self.ids)?;
        self.is_at_end = self.current.is_none();
        Ok(self.current)
    }
}

/// Each in its turn names the least that is possible, until all have it.
fn common(heads: &mut [Head<'_>], least: Option<SeriesId>) -> Next {
    let Some((first, others)) = heads.split_first_mut() else { return Ok(None) };
    let mut wanted = match least {
        Some(least) => first.at_least(least)?,
        None => first.advance()?,
    };
    'candidates: while let Some(id) = wanted {
        for other in &mut *others {
            match other.at_least(id)? {
                None => return Ok(None),
                Some(found) if found > id => {
                    wanted = first.at_least(found)?;
                    continue 'candidates;
                }
                Some(_) => {}
            }
        }
        return Ok(Some(id));
    }
    Ok(None)
}

/// The least of all, which all that have it go past the next time.
fn any(heads: &mut [Head<'_>], least: Option<SeriesId>) -> Next {
    let last = heads.iter().filter_map(|head| head.current).min();
    let mut found: Option<SeriesId> = None;
    for head in heads {
        let current = match least {
            Some(least) => head.at_least(least)?,
            None if head.current == last => head.advance()?,
            None => head.current,
        };
        found = [found, current].into_iter().flatten().min();
    }
    Ok(found)
}

fn without(ids: &mut Ids<'_>, refused: &mut Head<'_>, next: Option<SeriesId>) -> Next {
    let mut next = next;
    while let Some(id) = next {
        if refused.at_least(id)? != Some(id) {
            return Ok(Some(id));
        }
        next = ids.next()?;
    }
    Ok(None)
}
