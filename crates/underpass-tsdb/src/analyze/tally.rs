//! Sums by label name, label pair and metric, over series that come in the order of their labels.
//!
//! Series next to each other share most of their labels, so the sum of a pair is carried from one
//! series to the next and put into the map when the pair changes: a map is asked for the labels
//! that tell neighbours apart and for no others.

use std::collections::{BTreeMap, HashMap};

use super::load::Load;

/// A label as the index has it: references to its name and value in the symbol table.
pub(super) type Pair = (u32, u32);

/// One series.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) labels: &'a [Pair],
    /// From its first sample to its last, in ms.
    pub(super) covered_ms: u64,
    pub(super) load: Load,
}

/// Series that have something in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) series: u64,
    /// From first to last sample, over all of them. Less than 2^64 for 2^22 series of 139 years.
    pub(super) covered_ms: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.series += other.series;
        self.covered_ms = self.covered_ms.saturating_add(other.covered_ms);
    }

    /// Times the series were not there, in series: two that had samples for half of `range_ms`
    /// count as one.
    pub(super) fn churn(&self, range_ms: u64) -> u64 {
        let uncovered = (u128::from(self.series) * u128::from(range_ms))
            .saturating_sub(u128::from(self.covered_ms));
        uncovered
            .checked_div(u128::from(range_ms))
            .map_or(0, |series| u64::try_from(series).unwrap_or(u64::MAX))
    }
}

/// What a label name's pairs come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NameSum {
    pub(super) values: u64,
    pub(super) sum: Sum,
}

/// Sums under way.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The symbol `__name__`, if there is one.
    pub(super) metric_name: Option<u32>,
    /// By position of a label in its series: its pair, and what has not been put into `pairs`.
    runs: Vec<(Pair, Sum)>,
    metric_run: (Option<u32>, Load),
    sums: Sums,
}

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) pairs: HashMap<Pair, Sum>,
    /// By the value of `__name__`; `None` for series without.
    pub(super) metrics: HashMap<Option<u32>, Load>,
    pub(super) total: Load,
    /// Labels of all series.
    pub(super) label_entries: u64,
}

impl Tally {
    /// The metric of a series with these labels.
    fn metric(&self, labels: &[Pair]) -> Option<u32> {
        labels.iter().find(|(name, _)| Some(*name) == self.metric_name).map(|(_, value)| *value)
    }

    pub(super) fn add(&mut self, seen: &Seen<'_>) {
        let one = Sum { series: 1, covered_ms: seen.covered_ms };
        for (position, pair) in seen.labels.iter().enumerate() {
            match self.runs.get_mut(position) {
                Some((same, sum)) if same == pair => sum.add(one),
                Some(run) => {
                    let (pair, sum) = std::mem::replace(run, (*pair, one));
                    self.sums.pairs.entry(pair).or_default().add(sum);
                }
                None => self.runs.push((*pair, one)),
            }
        }
        self.add_to_metric(self.metric(seen.labels), seen.load);
        self.sums.total += seen.load;
        self.sums.label_entries += seen.labels.len() as u64;
    }

    fn add_to_metric(&mut self, metric: Option<u32>, load: Load) {
        if self.metric_run.0 != metric {
            self.put_metric();
            self.metric_run.0 = metric;
        }
        self.metric_run.1 += load;
    }

    fn put_metric(&mut self) {
        let (metric, load) = std::mem::take(&mut self.metric_run);
        if load.series > 0 {
            *self.sums.metrics.entry(metric).or_default() += load;
        }
    }

    pub(super) fn finish(mut self) -> Sums {
        self.put_metric();
        for (pair, sum) in self.runs {
            self.sums.pairs.entry(pair).or_default().add(sum);
        }
        self.sums
    }
}

impl Sums {
    /// By label name.
    pub(super) fn names(&self) -> BTreeMap<u32, NameSum> {
        let mut names = BTreeMap::<u32, NameSum>::new();
        for ((name, _), sum) in &self.pairs {
            let of = names.entry(*name).or_default();
            of.values += 1;
            of.sum.add(*sum);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: u32 = 1;

    fn load(chunks: u64) -> Load {
        Load { series: 1, chunks, samples: 10 * chunks, chunk_bytes: 100 * chunks, index_bytes: 64 }
    }

    /// Four series of two metrics and one without; the third has fewer labels than its neighbours.
    fn sums() -> Sums {
        let mut tally = Tally { metric_name: Some(NAME), ..Tally::default() };
        let series: [(&[Pair], u64, u64); 5] = [
            (&[(NAME, 20), (2, 30), (3, 40)], 1_000, 1),
            (&[(NAME, 20), (2, 31), (3, 40)], 500, 2),
            (&[(NAME, 21)], 250, 3),
            (&[(NAME, 21), (2, 30), (3, 40)], 0, 4),
            (&[(2, 30)], 1_000, 5),
        ];
        for (labels, covered_ms, chunks) in series {
            tally.add(&Seen { labels, covered_ms, load: load(chunks) });
        }
        tally.finish()
    }

    #[test]
    fn each_pair_has_its_series_though_others_come_between_them() {
        let pairs = sums().pairs;
        let wanted = [
            ((NAME, 20), 2, 1_500),
            ((NAME, 21), 2, 250),
            ((2, 30), 3, 2_000),
            ((2, 31), 1, 500),
            ((3, 40), 3, 1_500),
        ];
        assert_eq!(pairs.len(), wanted.len());
        for (pair, series, covered_ms) in wanted {
            assert_eq!(pairs[&pair], Sum { series, covered_ms }, "{pair:?}");
        }
    }

    #[test]
    fn metrics_have_all_of_their_load_and_series_without_a_name_are_apart() {
        let sums = sums();
        let chunks = |metric| sums.metrics[&metric].chunks;
        assert_eq!((chunks(Some(20)), chunks(Some(21)), chunks(None)), (3, 7, 5));
        assert_eq!(sums.metrics.len(), 3);
        let wanted =
            Load { series: 5, chunks: 15, samples: 150, chunk_bytes: 1_500, index_bytes: 320 };
        assert_eq!((sums.total, sums.label_entries), (wanted, 11));
    }

    #[test]
    fn names_have_their_values_counted_once() {
        let names = sums().names();
        let of = |name| (names[&name].values, names[&name].sum.series);
        assert_eq!((of(NAME), of(2), of(3)), ((2, 4), (2, 4), (1, 3)));
    }

    #[test]
    fn churn_is_the_time_without_samples_in_series_cut_to_whole_ones() {
        let sum = Sum { series: 4, covered_ms: 1_500 };
        assert_eq!(sum.churn(1_000), 2);
        assert_eq!(sum.churn(375), 0);
        assert_eq!(sum.churn(374), 0, "more covered than there is: an overlapping chunk");
        assert_eq!(sum.churn(0), 0);
    }
}
