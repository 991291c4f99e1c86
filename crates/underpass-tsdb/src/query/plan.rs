//! Which postings answer a selector in one block, the cheapest first.
//!
//! Matchers that series without the label satisfy cannot be answered from postings alone, and some
//! others would cost more than they save. Both are left to the labels, which are matched anyway: a
//! plan may have too many series, never too few.

use std::ops::ControlFlow;

use super::ids::{Head, Ids};
use super::values::each_value;
use crate::damage::Damage;
use crate::file::Window;
use crate::index::{Index, PostingsList, SeriesId};
use crate::matcher::{Matcher, Named};
use crate::selector::Selector;

/// Series of a union that are kept in memory; of one with more, all series are looked at.
const UNION_MAX: u64 = 1 << 20;

/// Values of which each has a list to be read; with more, all series are looked at.
const LISTS_MAX: usize = 1 << 16;

/// With this few series, their labels are read sooner than further postings.
const FEW: u64 = 16;

/// With this few series, their labels are read sooner than all values of a label are tried.
const SOME: u64 = 1024;

/// The series of a block that a selector may match.
#[derive(Debug)]
pub(super) enum Plan<'b> {
    /// There are none.
    Nothing,
    /// Any series.
    All,
    /// These, about this many.
    Ids(Ids<'b>, u64),
}

/// The postings lists of a matcher's values.
#[derive(Debug, Default)]
struct Lists {
    lists: Vec<PostingsList>,
    count: u64,
}

/// The series that any of the selectors may match. What is damaged is added to `damages`.
pub(super) fn plan<'b>(
    index: &'b Index,
    selectors: &[Selector],
    damages: &mut Vec<Damage>,
) -> Plan<'b> {
    let (mut heads, mut total) = (Vec::new(), 0);
    for selector in selectors {
        match one(index, selector, damages) {
            Plan::Nothing => {}
            Plan::All => return Plan::All,
            Plan::Ids(ids, count) => {
                heads.push(Head::from(ids));
                total += count;
            }
        }
    }
    match heads.len() {
        0 if selectors.is_empty() => Plan::All,
        0 => Plan::Nothing,
        1 => heads.pop().map_or(Plan::Nothing, |head| Plan::Ids(head.into_ids(), total)),
        _ => Plan::Ids(Ids::Any(heads), total),
    }
}

fn one<'b>(index: &'b Index, selector: &Selector, damages: &mut Vec<Damage>) -> Plan<'b> {
    let mut planner = Planner { index, damages, window: Window::exact() };
    let (cheap, dear): (Vec<_>, Vec<_>) =
        selector.matchers().iter().filter(|matcher| !matcher.matches_empty()).partition(is_cheap);
    let mut found = Vec::new();
    for matcher in cheap {
        match planner.named(matcher) {
            Some(lists) if lists.lists.is_empty() => return Plan::Nothing,
            lists => found.extend(lists),
        }
    }
    for matcher in dear {
        if found.iter().any(|lists| lists.count <= SOME) {
            break;
        }
        match planner.scanned(matcher) {
            Some(lists) if lists.lists.is_empty() => return Plan::Nothing,
            lists => found.extend(lists),
        }
    }
    planner.intersection(found, selector)
}

/// Whether its values are known without a look at the block.
fn is_cheap(matcher: &&Matcher) -> bool {
    !matcher.operator().is_negative() && matches!(matcher.named(), Named::Values(_))
}

struct Planner<'b, 'd> {
    index: &'b Index,
    damages: &'d mut Vec<Damage>,
    window: Window,
}

impl<'b> Planner<'b, '_> {
    /// The lists of the values that a matcher names; `None` if they are better left to labels.
    fn named(&mut self, matcher: &Matcher) -> Option<Lists> {
        let Named::Values(values) = matcher.named() else { return None };
        let mut lists = Lists::default();
        for value in values {
            match self.index.postings(matcher.name(), value, &mut self.window) {
                Ok(list) => list.into_iter().for_each(|list| lists.push(list)),
                Err(damage) => return self.keep(damage),
            }
        }
        Some(lists)
    }

    /// The lists of all values that a matcher takes, each of which is tried.
    fn scanned(&mut self, matcher: &Matcher) -> Option<Lists> {
        match self.scan(matcher) {
            Ok(lists) => lists,
            Err(damage) => self.keep(damage),
        }
    }

    fn scan(&mut self, matcher: &Matcher) -> Result<Option<Lists>, Damage> {
        let mut lists = Lists::default();
        let is_named = !matcher.operator().is_negative();
        let prefix = match matcher.named() {
            Named::All if !is_named => return Ok(Some(lists)),
            Named::Prefix(prefix) if is_named => prefix,
            Named::All | Named::Prefix(_) | Named::Values(_) => &[],
        };
        let mut offsets = Vec::new();
        each_value(self.index, matcher.name(), prefix, |value, offset| {
            if matcher.matches(value) {
                offsets.push(offset);
            }
            match offsets.len() <= LISTS_MAX {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        if offsets.len() > LISTS_MAX {
            return Ok(None);
        }
        for offset in offsets {
            lists.push(PostingsList::open(self.index.file(), offset, &mut self.window)?);
        }
        Ok(Some(lists))
    }

    fn keep<T>(&mut self, damage: Damage) -> Option<T> {
        if !self.damages.contains(&damage) {
            self.damages.push(damage);
        }
        None
    }

    /// What all the lists have, smallest first, without what negative matchers name.
    fn intersection(&mut self, mut found: Vec<Lists>, selector: &Selector) -> Plan<'b> {
        found.sort_by_key(|lists| lists.count);
        let Some(least) = found.first().map(|lists| lists.count) else { return Plan::All };
        let further = if least <= FEW { 1 } else { found.len() };
        let mut heads = Vec::new();
        for lists in found.into_iter().take(further) {
            heads.extend(self.union(&lists).map(Head::from));
        }
        let ids = match heads.len() {
            0 => return Plan::All,
            1 => heads.remove(0).into_ids(),
            _ => Ids::Common(heads),
        };
        let ids = if least <= FEW { ids } else { self.without(ids, selector) };
        Plan::Ids(ids, least)
    }

    fn without(&mut self, ids: Ids<'b>, selector: &Selector) -> Ids<'b> {
        let mut ids = ids;
        let negative =
            |matcher: &&Matcher| matcher.matches_empty() && matcher.operator().is_negative();
        for matcher in selector.matchers().iter().filter(negative) {
            let lists = self.named(matcher).filter(|lists| lists.count > 0);
            if let Some(refused) = lists.and_then(|lists| self.union(&lists)) {
                ids = Ids::Without(Box::new(ids), Head::from(refused));
            }
        }
        ids
    }

    /// The series of all these lists; `None` if they are too many.
    fn union(&mut self, lists: &Lists) -> Option<Ids<'b>> {
        if let [list] = lists.lists.as_slice() {
            return Some(Ids::List(list.iter(self.index.file())));
        }
        if lists.count > UNION_MAX {
            return None;
        }
        match self.all_of(lists) {
            Ok(ids) => Some(Ids::Some(ids.into_iter())),
            Err(damage) => self.keep(damage),
        }
    }

    fn all_of(&self, lists: &Lists) -> Result<Vec<SeriesId>, Damage> {
        let mut ids = Vec::new();
        for list in &lists.lists {
            let mut postings = list.iter(self.index.file());
            while let Some(id) = postings.next_id()? {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

impl Lists {
    fn push(&mut self, list: PostingsList) {
        self.count += u64::from(list.count());
        self.lists.push(list);
    }
}
