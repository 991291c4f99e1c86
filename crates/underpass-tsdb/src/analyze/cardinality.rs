//! Cardinality from the postings offset table and the count of each list: no series is read.

use std::collections::BTreeMap;

use super::lists::by_amount;
use super::load::Load;
use super::report::{LabelName, LabelPair, Lists, Metric};
use super::scan::Damages;
use super::top::Top;
use crate::block::Block;
use crate::damage::Damage;
use crate::file::Window;
use crate::index::PostingsList;
use crate::selector::METRIC_NAME;

/// What the postings tell.
#[derive(Debug, Default)]
pub(super) struct Cardinality {
    pub(super) series: u64,
    pub(super) label_names: u64,
    pub(super) label_pairs: u64,
    pub(super) label_entries: u64,
    pub(super) lists: Lists,
    pub(super) damages: Damages,
}

/// Counts the series of every label pair.
pub(super) fn count(block: &Block, limit: usize) -> Cardinality {
    let mut counting = Counting::new(limit);
    if let Err(damage) = block.index().check_table().and_then(|()| counting.read(block)) {
        counting.found.damages.add(damage);
    }
    counting.finish()
}

struct Counting {
    limit: usize,
    found: Cardinality,
    names: BTreeMap<String, LabelName>,
    metrics: Top<String, Metric>,
    pairs: Top<(String, String), LabelPair>,
}

impl Counting {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            found: Cardinality::default(),
            names: BTreeMap::new(),
            metrics: Top::new(limit),
            pairs: Top::new(limit),
        }
    }

    /// Lists are in the order of the table, so the counts are read from front to back.
    fn read(&mut self, block: &Block) -> Result<(), Damage> {
        let file = block.index().file();
        let mut lists = Window::ahead(Window::AHEAD);
        let mut entries = block.index().table().entries();
        while let Some(entry) = entries.peek(file)? {
            match PostingsList::find(file, entry.offset, &mut lists) {
                Ok(list) => self.add(entry.name, entry.value, list.count().into()),
                Err(damage) => self.found.damages.add(damage),
            }
            entries.advance();
        }
        Ok(())
    }

    fn add(&mut self, name: &[u8], value: &[u8], series: u64) {
        if name.is_empty() && value.is_empty() {
            self.found.series = series;
            return;
        }
        self.found.label_pairs += 1;
        self.found.label_entries += series;
        let name_text = String::from_utf8_lossy(name);
        let value_text = String::from_utf8_lossy(value);
        if !self.names.contains_key(name_text.as_ref()) {
            let name = name_text.clone().into_owned();
            let (values, value_bytes, series, churn) = (0, 0, 0, None);
            let first = LabelName { name: name.clone(), values, value_bytes, series, churn };
            self.names.insert(name, first);
        }
        if let Some(of) = self.names.get_mut(name_text.as_ref()) {
            of.values += 1;
            of.value_bytes += value.len() as u64;
            of.series += series;
        }
        if name == METRIC_NAME && self.metrics.takes(series) {
            let load = Load { series, ..Load::default() };
            let metric = || Metric { name: Some(value_text.clone().into_owned()), load };
            self.metrics.offer(series, value_text.clone().into_owned(), metric);
        }
        if self.pairs.takes(series) {
            let key = (name_text.into_owned(), value_text.into_owned());
            let (name, value) = key.clone();
            self.pairs.offer(series, key, || LabelPair { name, value, series, churn: None });
        }
    }

    fn finish(mut self) -> Cardinality {
        let names: Vec<LabelName> = self.names.into_values().collect();
        self.found.label_names = names.len() as u64;
        self.found.lists = Lists {
            metrics_by_series: self.metrics.into_rows().map(|(.., metric)| metric).collect(),
            label_names_by_values: by_amount(&names, self.limit, |name| name.values),
            label_names_by_value_bytes: by_amount(&names, self.limit, |name| name.value_bytes),
            label_pairs_by_series: self.pairs.into_rows().map(|(.., pair)| pair).collect(),
            ..Lists::default()
        };
        self.found
    }
}
