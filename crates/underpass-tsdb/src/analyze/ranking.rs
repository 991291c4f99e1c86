//! The lists of a report as tables that text and page both show.

mod changes;

pub(super) use changes::changes;

use super::load::Load;
use super::report::{LabelName, LabelPair, Metric, Report};
use super::words::{count, each, share, size};

/// A table whose rows are in order.
#[derive(Debug)]
#[cfg_attr(not(feature = "html"), expect(dead_code, reason = "the page has more than text"))]
pub(super) struct Ranking {
    /// Its address on the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What the last column is.
    pub(super) of: &'static str,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
}

/// One line of a table.
#[derive(Debug)]
#[cfg_attr(not(feature = "html"), expect(dead_code, reason = "the page has more than text"))]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: Vec<String>,
    /// What it has its place by.
    pub(super) amount: u64,
}

/// The lists that are not empty.
pub(super) fn rankings(report: &Report) -> Vec<Ranking> {
    let top = &report.top;
    let table = Loads::of(report);
    let mut rankings = vec![
        table.of_metrics(
            "metrics-by-series",
            "Metrics with the most series",
            &top.metrics_by_series,
            |load| load.series,
        ),
        table.of_metrics(
            "metrics-by-bytes",
            "Metrics that take the most bytes",
            &top.metrics_by_bytes,
            Load::bytes,
        ),
        table.of_series(report),
    ];
    rankings.extend(label_names(report));
    rankings.extend(label_pairs(report));
    rankings.retain(|ranking| !ranking.rows.is_empty());
    rankings
}

/// Which columns there are for what series take.
struct Loads {
    total: Load,
    has_bytes: bool,
    has_samples: bool,
}

impl Loads {
    const fn of(report: &Report) -> Self {
        let has_bytes = !matches!(report.depth, super::report::Depth::Postings);
        Self { total: report.total, has_bytes, has_samples: report.fill.is_some() }
    }

    fn columns(&self) -> Vec<&'static str> {
        let mut columns = vec!["series", "of series"];
        if self.has_bytes {
            columns.extend(["bytes", "of bytes", "in chunks", "in index", "chunks"]);
        }
        if self.has_samples {
            columns.extend(["samples", "bytes a sample"]);
        }
        columns
    }

    fn cells(&self, load: &Load) -> Vec<String> {
        let total = &self.total;
        let mut cells = vec![count(load.series), share(load.series, total.series)];
        if self.has_bytes {
            cells.extend([
                size(load.bytes()),
                share(load.bytes(), total.bytes()),
                size(load.chunk_bytes),
                size(load.index_bytes),
                count(load.chunks),
            ]);
        }
        if self.has_samples {
            cells.extend([count(load.samples), each(load.bytes(), load.samples)]);
        }
        cells
    }

    fn of_metrics(
        &self,
        id: &'static str,
        title: &'static str,
        metrics: &[Metric],
        amount: fn(&Load) -> u64,
    ) -> Ranking {
        let row = |metric: &Metric| Row {
            name: metric_name(metric.name.as_deref()),
            cells: self.cells(&metric.load),
            amount: amount(&metric.load),
        };
        let rows = metrics.iter().map(row).collect();
        Ranking { id, title, of: "metric", columns: self.columns(), rows }
    }

    fn of_series(&self, report: &Report) -> Ranking {
        let (id, title) = ("series-by-bytes", "Series that take the most bytes");
        let row = |series: &super::report::Series| Row {
            name: series.labels.clone(),
            cells: self.cells(&series.load).split_off(2),
            amount: series.load.bytes(),
        };
        let rows = report.top.series_by_bytes.iter().map(row).collect();
        let columns = self.columns().split_off(2);
        Ranking { id, title, of: "series", columns, rows }
    }
}

fn metric_name(name: Option<&str>) -> String {
    name.unwrap_or("(without a name)").to_owned()
}

fn label_names(report: &Report) -> [Ranking; 3] {
    let has_churn = report.top.label_names_by_churn.iter().any(|name| name.churn.is_some());
    let list = |id, title, names: &[LabelName], amount: fn(&LabelName) -> u64| {
        let mut columns = vec!["values", "bytes of values", "series"];
        columns.extend(has_churn.then_some("churn"));
        let row = |name: &LabelName| {
            let mut cells = vec![count(name.values), size(name.value_bytes), count(name.series)];
            cells.extend(has_churn.then(|| name.churn.map_or_else(|| "-".into(), count)));
            Row { name: name.name.clone(), cells, amount: amount(name) }
        };
        Ranking { id, title, of: "label name", columns, rows: names.iter().map(row).collect() }
    };
    let top = &report.top;
    [
        list(
            "names-by-values",
            "Label names with the most values",
            &top.label_names_by_values,
            |name| name.values,
        ),
        list(
            "names-by-value-bytes",
            "Label names whose values are the longest in all",
            &top.label_names_by_value_bytes,
            |name| name.value_bytes,
        ),
        list(
            "names-by-churn",
            "Label names with the most churn",
            &top.label_names_by_churn,
            |name| name.churn.unwrap_or(0),
        ),
    ]
}

fn label_pairs(report: &Report) -> [Ranking; 2] {
    let has_churn = report.top.label_pairs_by_churn.iter().any(|pair| pair.churn.is_some());
    let list = |id, title, pairs: &[LabelPair], amount: fn(&LabelPair) -> u64| {
        let mut columns = vec!["series", "of series"];
        columns.extend(has_churn.then_some("churn"));
        let row = |pair: &LabelPair| {
            let mut cells = vec![count(pair.series), share(pair.series, report.total.series)];
            cells.extend(has_churn.then(|| pair.churn.map_or_else(|| "-".into(), count)));
            let name = format!("{}={}", pair.name, pair.value);
            Row { name, cells, amount: amount(pair) }
        };
        Ranking { id, title, of: "label pair", columns, rows: pairs.iter().map(row).collect() }
    };
    let top = &report.top;
    [
        list(
            "pairs-by-series",
            "Label pairs with the most series",
            &top.label_pairs_by_series,
            |pair| pair.series,
        ),
        list(
            "pairs-by-churn",
            "Label pairs with the most churn",
            &top.label_pairs_by_churn,
            |pair| pair.churn.unwrap_or(0),
        ),
    ]
}
