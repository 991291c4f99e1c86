//! What two blocks differ in, as tables.

use super::{Ranking, Row};
use crate::analyze::difference::{Difference, LabelNameChange, MetricChange};
use crate::analyze::words::{change, count, size, size_change};

/// The lists that are not empty.
pub(in crate::analyze) fn changes(difference: &Difference) -> Vec<Ranking> {
    let mut rankings = vec![
        of_metrics(
            "metrics-by-bytes",
            "Metrics whose bytes changed the most",
            &difference.metrics_by_bytes,
            |metric| metric.before.bytes().abs_diff(metric.after.bytes()),
        ),
        of_metrics(
            "metrics-by-series",
            "Metrics with the most series that are gone or new",
            &difference.metrics_by_series,
            |metric| metric.series.changed(),
        ),
        of_names(&difference.label_names_by_values),
    ];
    rankings.retain(|ranking| !ranking.rows.is_empty());
    rankings
}

fn of_metrics(
    id: &'static str,
    title: &'static str,
    metrics: &[MetricChange],
    amount: fn(&MetricChange) -> u64,
) -> Ranking {
    let columns = vec!["bytes", "before", "after", "series", "gone", "new", "chunks"];
    let row = |metric: &MetricChange| {
        let (before, after) = (&metric.before, &metric.after);
        Row {
            name: super::metric_name(metric.name.as_deref()),
            cells: vec![
                size_change(before.bytes(), after.bytes()),
                size(before.bytes()),
                size(after.bytes()),
                change(before.series, after.series),
                count(metric.series.gone),
                count(metric.series.new),
                change(before.chunks, after.chunks),
            ],
            amount: amount(metric),
        }
    };
    Ranking { id, title, of: "metric", columns, rows: metrics.iter().map(row).collect() }
}

fn of_names(names: &[LabelNameChange]) -> Ranking {
    let row = |name: &LabelNameChange| Row {
        name: name.name.clone(),
        cells: [name.values.kept, name.values.gone, name.values.new].map(count).to_vec(),
        amount: name.values.changed(),
    };
    Ranking {
        id: "names-by-values",
        title: "Label names with the most values that are gone or new",
        of: "label name",
        columns: vec!["kept", "gone", "new"],
        rows: names.iter().map(row).collect(),
    }
}
