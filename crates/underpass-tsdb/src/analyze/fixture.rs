//! A report and a difference with labels that mean something to HTML and to terminals.

use super::activity::Activity;
use super::difference::{Difference, LabelNameChange, MetricChange, Side, Turnover};
use super::fill::Fill;
use super::load::Load;
use super::report::{Depth, Files, LabelName, LabelPair, Lists, Metric, Report, Series};

pub(super) fn load(series: u64, chunk_bytes: u64) -> Load {
    Load { series, chunks: 2 * series, samples: 200 * series, chunk_bytes, index_bytes: 64 }
}

pub(super) fn report() -> Report {
    let mut activity = Activity::new(0, 7_200_000).unwrap();
    activity.add(0, 7_199_999);
    activity.add(0, 7_199_999);
    activity.add(3_600_000, 5_000_000);
    let mut fill = Fill::default();
    fill.add(1, "XOR", Some(120), 400);
    fill.add(1, "XOR", Some(30), 120);
    fill.add(9, "unknown", None, 60);
    let name = |name: &str, values, churn| LabelName {
        name: name.to_owned(),
        values,
        value_bytes: 4_096,
        series: 3,
        churn,
    };
    let pair = |value: &str| LabelPair {
        name: "pod".to_owned(),
        value: value.to_owned(),
        series: 1_500,
        churn: Some(77),
    };
    let metric = |name: Option<&str>, series| Metric {
        name: name.map(str::to_owned),
        load: load(series, 10_000),
    };
    let top = Lists {
        metrics_by_series: vec![metric(Some("up"), 1_500), metric(None, 500)],
        metrics_by_bytes: vec![metric(Some("up"), 1_500)],
        series_by_bytes: vec![Series { labels: "{a=\"<b>&\"}".to_owned(), load: load(1, 900) }],
        label_names_by_values: vec![name("pod", 1_234, Some(5))],
        label_names_by_value_bytes: vec![name("pod", 1_234, Some(5))],
        label_names_by_churn: vec![name("pod", 1_234, Some(5))],
        label_pairs_by_series: vec![pair("<script>alert(1)</script>"), pair("\u{1b}[2J")],
        label_pairs_by_churn: vec![pair("x")],
    };
    let files = Files {
        chunks: 30_000,
        index: 10_000,
        symbols: 1_000,
        series: 4_000,
        postings: 3_000,
        postings_table: 1_500,
        tombstones: 9,
    };
    Report {
        block: "01HX".to_owned(),
        depth: Depth::Chunks,
        selectors: vec!["{a<\"b\"}".to_owned()],
        min_time: Some(0),
        max_time: Some(7_200_000),
        total: Load { chunks: 3, ..load(2_000, 20_000) },
        samples: Some(123_456),
        label_names: 2,
        label_pairs: 9,
        label_entries: 6_000,
        files,
        chunks_unmeasured: 4,
        top,
        activity: Some(activity.finish()),
        fill: Some(fill),
    }
}

pub(super) fn difference() -> Difference {
    let before = Report { total: load(1_000, 50_000), ..report() };
    let metric = MetricChange {
        name: Some("<up>".to_owned()),
        before: load(3, 2_048),
        after: load(5, 1_024),
        series: Turnover { kept: 1, gone: 2, new: 4 },
    };
    let values = Turnover { kept: 10, gone: 20, new: 30 };
    Difference {
        before: Side::of(before),
        after: Side::of(report()),
        series: Turnover { kept: 900, gone: 100, new: 1_100 },
        metrics_by_bytes: vec![metric.clone()],
        metrics_by_series: vec![metric],
        label_names_by_values: vec![LabelNameChange { name: "pod".to_owned(), values }],
    }
}
