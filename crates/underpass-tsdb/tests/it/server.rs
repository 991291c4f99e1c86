//! Histograms: the same as a Prometheus server's query API answers from the same block.
//!
//! promtool's dump will not do for these: it loses the first one or two samples of a series.
//! The server leaves out stale markers, as every query does.
//!
//! Source: Prometheus, docs/querying/api.md, "Native histograms".

use serde_json::Value;
use underpass_testkit::prometheus::{Fixture, PrometheusServer, Suite};
use underpass_testkit::require;
use underpass_tsdb::query::Selection;
use underpass_tsdb::sample::{Bucket, Count, Counts, Histogram, is_stale};
use underpass_tsdb::{Backend, Samples, Series, TimeRange};

use crate::promtool::open;

/// The block's two hours.
const END: i64 = 1_699_999_200_000 + 7_199_999;

/// Of a series: its labels, its floats, its histograms.
#[derive(Debug, PartialEq)]
struct Found {
    labels: Vec<(String, String)>,
    floats: Vec<(i64, f64)>,
    histograms: Vec<(i64, Answer)>,
}

/// A histogram as the API answers it.
#[derive(Debug, PartialEq)]
struct Answer {
    count: f64,
    sum: f64,
    /// Those that are not empty: which bounds are part of it, both bounds, its count.
    buckets: Vec<(u64, f64, f64, f64)>,
}

fn theirs(answer: &str) -> Vec<Found> {
    let answer: Value = serde_json::from_str(answer).unwrap();
    let result = answer["data"]["result"].as_array().unwrap();
    let mut found: Vec<_> = result.iter().map(their_series).collect();
    found.sort_by(|one, other| one.labels.cmp(&other.labels));
    found
}

fn their_series(series: &Value) -> Found {
    let labels = series["metric"].as_object().unwrap().iter();
    let pairs = |name: &str| series[name].as_array().cloned().unwrap_or_default();
    let time = |pair: &Value| format!("{:.0}", pair[0].as_f64().unwrap() * 1000.0).parse().unwrap();
    let mut labels: Vec<_> =
        labels.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
    labels.sort();
    Found {
        labels,
        floats: pairs("values").iter().map(|pair| (time(pair), number(&pair[1]))).collect(),
        histograms: pairs("histograms").iter().map(|pair| (time(pair), answer(&pair[1]))).collect(),
    }
}

fn answer(histogram: &Value) -> Answer {
    let buckets = histogram["buckets"].as_array().cloned().unwrap_or_default();
    let bucket =
        |one: &Value| (one[0].as_u64().unwrap(), number(&one[1]), number(&one[2]), number(&one[3]));
    Answer {
        count: number(&histogram["count"]),
        sum: number(&histogram["sum"]),
        buckets: buckets.iter().map(bucket).collect(),
    }
}

fn number(text: &Value) -> f64 {
    text.as_str().unwrap().parse().unwrap()
}

fn ours(backend: Backend, data: &std::path::Path) -> Vec<Found> {
    let blocks = open(data, backend);
    let selection = Selection::new(&blocks, Vec::new(), TimeRange::ALL);
    let (mut merged, mut reader) = (selection.series(), selection.reader());
    let mut series = Series::default();
    let mut found = Vec::new();
    while merged.next_into(&mut series) {
        let mut samples = Samples::default();
        reader.read(&series).read_all(&mut samples);
        found.push(our_series(&series, &samples));
    }
    assert_eq!((merged.take_losses(), reader.take_losses()), (vec![], vec![]));
    found
}

fn our_series(series: &Series, samples: &Samples) -> Found {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let labels = series.labels.iter().map(|(name, value)| (text(name), text(value)));
    let floats = samples.floats.iter().filter(|one| !is_stale(one.value));
    let histograms = samples.histograms.iter().filter(|one| !is_stale(one.histogram.sum));
    Found {
        labels: labels.collect(),
        floats: floats.map(|one| (one.time, one.value)).collect(),
        histograms: histograms.map(|one| (one.time, our_answer(&one.histogram))).collect(),
    }
}

fn our_answer(histogram: &Histogram) -> Answer {
    let count = match &histogram.counts {
        Counts::Integer { count, .. } => *count as f64,
        Counts::Float { count, .. } => *count,
    };
    let threshold = histogram.layout.zero_threshold;
    let buckets = histogram.buckets().into_iter().map(|bucket| bucket.beyond(threshold));
    let bucket = |bucket: Bucket| {
        let count = match bucket.count {
            Count::Integer(count) => count as f64,
            Count::Float(count) => count,
        };
        // 0: only the upper bound, 1: only the lower one, 2: neither, 3: both.
        let bounds = match (bucket.is_lower_inclusive, bucket.is_upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        (bounds, bucket.lower, bucket.upper, count)
    };
    let buckets = buckets.map(bucket).filter(|(_, _, _, count)| *count != 0.0).collect();
    Answer { count, sum: histogram.sum, buckets }
}

#[test]
fn histograms_are_those_that_the_server_answers_from_the_same_block() {
    let tools = require!(Suite::Sid.tools());
    let data = require!(Fixture::Histograms.data());
    // The server writes into its directory.
    let copy = require!(Fixture::Histograms.copy());
    let server = PrometheusServer::start(&tools, copy.path(), "{}").unwrap();
    let theirs = theirs(&server.query(r#"{__name__=~".+"}[2h]"#, END).unwrap());
    server.stop().unwrap();
    for backend in [Backend::Map, Backend::Pread] {
        let ours = ours(backend, &data);
        assert_eq!(ours.len(), theirs.len());
        for (our, their) in ours.iter().zip(&theirs) {
            assert_eq!(our.labels, their.labels);
            assert_eq!(format!("{:?}", our.floats), format!("{:?}", their.floats));
            assert_eq!(our.histograms.len(), their.histograms.len(), "{:?}", our.labels);
            for (our, their) in our.histograms.iter().zip(&their.histograms) {
                assert_eq!(our, their);
            }
        }
    }
    let samples: usize = theirs.iter().map(|one| one.histograms.len()).sum();
    assert_eq!(samples, 400 + 400 + 200 + 200 + 200 + 200 + 11 + 60);
}
