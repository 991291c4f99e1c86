//! What two blocks differ in: series that are gone or new, by metric, and what that did to bytes.
//!
//! Series are compared by their labels, values of a label name by their text. So two blocks of the
//! same length tell what a day has added, though no reference of one means anything in the other.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::load::Load;
use super::report::{Files, Report};
use super::top::Top;
use crate::labels::Labels;

/// Two blocks, compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The block to begin with.
    pub before: Side,
    /// The block that is compared with it.
    pub after: Side,
    /// Series by their labels.
    pub series: Turnover,
    /// Metrics by how much more or fewer bytes they take, most first.
    pub metrics_by_bytes: Vec<MetricChange>,
    /// Metrics by their series that are gone or new, most first.
    pub metrics_by_series: Vec<MetricChange>,
    /// Label names by their values that are gone or new, most first.
    pub label_names_by_values: Vec<LabelNameChange>,
}

/// One of the blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// The block's name.
    pub block: String,
    /// The first time of its range, in ms.
    pub min_time: Option<i64>,
    /// The first time after its range, in ms.
    pub max_time: Option<i64>,
    /// What its series take.
    pub total: Load,
    /// Its samples, where they are known.
    pub samples: Option<u64>,
    /// Label names that occur.
    pub label_names: u64,
    /// Label pairs that occur.
    pub label_pairs: u64,
    /// Bytes of its files.
    pub files: Files,
}

impl Side {
    /// The part of a report that is compared.
    pub(super) fn of(report: Report) -> Self {
        let Report { block, min_time, max_time, total, samples, .. } = report;
        let (label_names, label_pairs, files) =
            (report.label_names, report.label_pairs, report.files);
        Self { block, min_time, max_time, total, samples, label_names, label_pairs, files }
    }
}

/// What is in both, in the first only, in the second only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Turnover {
    /// In both.
    pub kept: u64,
    /// In the first only.
    pub gone: u64,
    /// In the second only.
    pub new: u64,
}

impl Turnover {
    const fn add(&mut self, found: Presence) {
        match found {
            Presence::Both => self.kept += 1,
            Presence::Before => self.gone += 1,
            Presence::After => self.new += 1,
        }
    }

    /// Gone and new.
    pub(super) const fn changed(self) -> u64 {
        self.gone + self.new
    }
}

/// A metric in both blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MetricChange {
    /// Its name; `None` for the series that have none.
    pub name: Option<String>,
    /// What it took.
    pub before: Load,
    /// What it takes.
    pub after: Load,
    /// Its series.
    pub series: Turnover,
}

/// A label name in both blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LabelNameChange {
    /// The name.
    pub name: String,
    /// Its values.
    pub values: Turnover,
}

/// In which of the blocks a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Before,
    After,
    Both,
}

impl Presence {
    const fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Before, Self::Before) => Self::Before,
            (Self::After, Self::After) => Self::After,
            _ => Self::Both,
        }
    }
}

/// Loads by the name of the metric; `None` for series without.
pub(super) type ByMetric = BTreeMap<Option<String>, Load>;

/// Series of two blocks, counted one after the other.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    series: Turnover,
    metrics: BTreeMap<Option<String>, Turnover>,
    names: BTreeMap<Vec<u8>, HashMap<Vec<u8>, Presence>>,
}

impl Comparison {
    /// Counts a series.
    pub(super) fn add(&mut self, labels: &Labels, found: Presence) {
        self.series.add(found);
        let metric = labels.get(b"__name__").map(text);
        self.metrics.entry(metric).or_default().add(found);
        for (name, value) in labels.iter() {
            if !self.names.contains_key(name) {
                self.names.insert(name.to_owned(), HashMap::new());
            }
            let Some(values) = self.names.get_mut(name) else { continue };
            match values.get_mut(value) {
                Some(before) => *before = before.with(found),
                None => drop(values.insert(value.to_owned(), found)),
            }
        }
    }

    /// Puts everything together; `limit` entries a list, 0 for all.
    pub(super) fn finish(
        self,
        (before, before_loads): (Side, &ByMetric),
        (after, after_loads): (Side, &ByMetric),
        limit: usize,
    ) -> Difference {
        let mut by_bytes = Top::new(limit);
        let mut by_series = Top::new(limit);
        for (name, series) in self.metrics {
            let of = |loads: &ByMetric| loads.get(&name).copied().unwrap_or_default();
            let (before, after) = (of(before_loads), of(after_loads));
            let change = || MetricChange { name: name.clone(), before, after, series };
            by_bytes.offer(before.bytes().abs_diff(after.bytes()), name.clone(), change);
            by_series.offer(series.changed(), name.clone(), change);
        }
        let mut by_values = Top::new(limit);
        for (name, found) in &self.names {
            let mut values = Turnover::default();
            found.values().for_each(|found| values.add(*found));
            let change = || LabelNameChange { name: text(name), values };
            by_values.offer(values.changed(), name, change);
        }
        Difference {
            before,
            after,
            series: self.series,
            metrics_by_bytes: changed(by_bytes),
            metrics_by_series: changed(by_series),
            label_names_by_values: changed(by_values),
        }
    }
}

/// What has changed at all.
fn changed<K: Ord, T>(top: Top<K, T>) -> Vec<T> {
    top.into_rows().filter(|(amount, ..)| *amount > 0).map(|(.., change)| change).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(block: &str) -> Side {
        let files = Files::default();
        let (total, samples) = (Load::default(), None);
        let (min_time, max_time) = (None, None);
        let block = block.to_owned();
        Side { block, min_time, max_time, total, samples, label_names: 0, label_pairs: 0, files }
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::default();
        pairs.iter().for_each(|(name, value)| labels.push(name.as_bytes(), value.as_bytes()));
        labels
    }

    fn difference(limit: usize) -> Difference {
        let mut comparison = Comparison::default();
        for (metric, pod, found) in [
            ("a", "1", Presence::Both),
            ("a", "2", Presence::Before),
            ("b", "1", Presence::Before),
            ("b", "2", Presence::After),
            ("b", "3", Presence::After),
            ("c", "3", Presence::After),
        ] {
            comparison.add(&labels(&[("__name__", metric), ("pod", pod)]), found);
        }
        comparison.add(&labels(&[("pod", "1")]), Presence::Both);
        let load = |chunk_bytes| Load { series: 1, chunk_bytes, ..Load::default() };
        let name = |name: &str| Some(name.to_owned());
        let before = ByMetric::from([(name("a"), load(500)), (name("b"), load(10))]);
        let after =
            ByMetric::from([(name("a"), load(100)), (name("b"), load(20)), (name("c"), load(400))]);
        comparison.finish((side("x"), &before), (side("y"), &after), limit)
    }

    #[test]
    fn series_are_kept_gone_or_new_in_all_and_by_metric() {
        let difference = difference(0);
        assert_eq!(difference.series, Turnover { kept: 2, gone: 2, new: 3 });
        let by_series: Vec<_> = difference
            .metrics_by_series
            .iter()
            .map(|it| (it.name.as_deref().unwrap(), it.series.kept, it.series.gone, it.series.new))
            .collect();
        assert_eq!(by_series, [("b", 0, 1, 2), ("a", 1, 1, 0), ("c", 0, 0, 1)]);
    }

    #[test]
    fn metrics_are_ordered_by_bytes_more_or_fewer_and_equals_by_name() {
        let names = |limit| {
            let of = difference(limit).metrics_by_bytes;
            of.into_iter()
                .map(|it| (it.name.unwrap(), it.before.bytes(), it.after.bytes()))
                .collect::<Vec<_>>()
        };
        let wanted = [("a", 500, 100), ("c", 0, 400), ("b", 10, 20)];
        let wanted = wanted.map(|(name, before, after)| (name.to_owned(), before, after));
        assert_eq!(names(0), wanted);
        assert_eq!(names(2), wanted[..2]);
    }

    #[test]
    fn a_value_is_kept_if_each_block_has_it_in_whatever_series() {
        let names = difference(0).label_names_by_values;
        let of = |at: usize| (names[at].name.as_str(), names[at].values);
        assert_eq!(of(0), ("__name__", Turnover { kept: 2, gone: 0, new: 1 }));
        assert_eq!(of(1), ("pod", Turnover { kept: 2, gone: 0, new: 1 }));
        assert_eq!(names.len(), 2);
    }
}
