//! The lists of a report, from the sums of a pass: references become text for what is listed only.

use super::difference::ByMetric;
use super::measure::Measured;
use super::report::{LabelName, LabelPair, Lists, Metric, Series};
use super::scan::Scan;
use super::tally::{NameSum, Pair, Sum, Sums};
use super::top::Top;
use crate::Labels;
use crate::index::SeriesEntry;

/// A list's rows are made while the block's text is at hand.
pub(super) struct Writer<'s, 'b> {
    pub(super) scan: &'s mut Scan<'b>,
    pub(super) limit: usize,
    /// The length of the block's time range.
    pub(super) range_ms: Option<u64>,
}

impl Writer<'_, '_> {
    /// All lists.
    pub(super) fn lists(&mut self, measured: Measured) -> Lists {
        let sums = &measured.sums;
        let names = self.names(sums);
        Lists {
            metrics_by_series: self.metrics(sums, |load| load.series),
            metrics_by_bytes: self.metrics(sums, super::Load::bytes),
            label_names_by_values: self.of_names(&names, |name| name.values),
            label_names_by_value_bytes: self.of_names(&names, |name| name.value_bytes),
            label_names_by_churn: self.of_names(&names, |name| name.churn.unwrap_or(0)),
            label_pairs_by_series: self.pairs(sums, |sum, _| sum.series),
            label_pairs_by_churn: self.pairs(sums, Sum::churn),
            series_by_bytes: self.series(measured.largest),
        }
    }

    /// What metrics take, by their names.
    pub(super) fn by_metric(&mut self, sums: &Sums) -> ByMetric {
        let named = sums.metrics.iter().map(|(metric, load)| (self.metric(*metric), *load));
        named.collect()
    }

    fn metric(&mut self, metric: Option<u32>) -> Option<String> {
        metric.map(|metric| self.scan.symbol(metric))
    }

    fn metrics(&mut self, sums: &Sums, amount: fn(&super::Load) -> u64) -> Vec<Metric> {
        let mut top = Top::new(self.limit);
        for (metric, load) in &sums.metrics {
            top.offer(amount(load), *metric, || *load);
        }
        let rows = top.into_rows();
        rows.map(|(_, metric, load)| Metric { name: self.metric(metric), load }).collect()
    }

    fn series(&mut self, largest: Top<u64, (Vec<Pair>, super::Load)>) -> Vec<Series> {
        let (mut entry, mut labels) = (SeriesEntry::default(), Labels::default());
        let mut rows = Vec::new();
        for (_, _, (pairs, load)) in largest.into_rows() {
            entry.labels = pairs;
            self.scan.labels(&entry, &mut labels);
            rows.push(Series { labels: labels.to_string(), load });
        }
        rows
    }

    fn churn(&self, sum: &Sum) -> Option<u64> {
        self.range_ms.map(|range| sum.churn(range))
    }

    /// Every label name; there are never many.
    fn names(&mut self, sums: &Sums) -> Vec<LabelName> {
        let mut value_bytes = std::collections::HashMap::<u32, u64>::new();
        let mut pairs: Vec<&Pair> = sums.pairs.keys().collect();
        // The text is read in the order of the file.
        pairs.sort_unstable_by_key(|(_, value)| *value);
        for (name, value) in pairs {
            *value_bytes.entry(*name).or_default() += self.scan.symbol_len(*value);
        }
        let name = |(name, NameSum { values, sum }): (u32, NameSum)| LabelName {
            name: self.scan.symbol(name),
            values,
            value_bytes: value_bytes.get(&name).copied().unwrap_or(0),
            series: sum.series,
            churn: self.range_ms.map(|range| sum.churn(range)),
        };
        sums.names().into_iter().map(name).collect()
    }

    fn of_names(&self, names: &[LabelName], amount: fn(&LabelName) -> u64) -> Vec<LabelName> {
        by_amount(names, self.limit, amount)
    }

    fn pairs(&mut self, sums: &Sums, amount: fn(&Sum, u64) -> u64) -> Vec<LabelPair> {
        let range_ms = self.range_ms.unwrap_or(0);
        let mut top = Top::new(self.limit);
        for (pair, sum) in &sums.pairs {
            top.offer(amount(sum, range_ms), *pair, || *sum);
        }
        let mut rows = Vec::new();
        for (_, (name, value), sum) in top.into_rows().filter(|(amount, ..)| *amount > 0) {
            let (name, value) = (self.scan.symbol(name), self.scan.symbol(value));
            rows.push(LabelPair { name, value, series: sum.series, churn: self.churn(&sum) });
        }
        rows
    }
}

/// The greatest of some label names, equals in the order they have.
pub(super) fn by_amount(
    names: &[LabelName],
    limit: usize,
    amount: fn(&LabelName) -> u64,
) -> Vec<LabelName> {
    let mut top = Top::new(limit);
    for (at, name) in names.iter().enumerate() {
        top.offer(amount(name), at, || name.clone());
    }
    top.into_rows().filter(|(amount, ..)| *amount > 0).map(|(.., name)| name).collect()
}
