//! What is written to a server: samples out of order, and native histograms.

use super::write::{Counts, Histogram, STALE, Series, Span};

/// When samples start.
pub(super) const START_MS: i64 = super::text::START.cast_signed() * 1000;

/// Four series, in the parts that they are to be written in: in order, then out of order within
/// the first two hours, then one sample so late that the server writes blocks.
pub(super) fn out_of_order() -> Vec<Vec<Series>> {
    let series = |n: i64, times: &[i64], value: &dyn Fn(i64) -> f64| {
        let mut series = Series::new("late", &[("n", &n.to_string())]);
        series.floats = times.iter().map(|time| (START_MS + time * 1000, value(*time))).collect();
        series
    };
    let all = |times: &[i64], value: &dyn Fn(i64) -> f64| -> Vec<Series> {
        (0..3).map(|n| series(n, times, value)).collect()
    };
    // Nothing between 1,200 and 2,400 seconds.
    let in_order: Vec<i64> =
        (0..10_000).step_by(15).filter(|time| !(1_200..2_400).contains(time)).collect();
    let gap: Vec<i64> = (1_200..2_400).step_by(15).collect();
    // Between samples that are there, at the time of some of them, and backwards.
    let between: Vec<i64> = (3_000..4_200).rev().step_by(10).collect();
    let alone = [600, 590];
    vec![
        all(&in_order, &|time| small(time)),
        vec![series(0, &gap, &|time| small(time) + 0.5)],
        vec![series(1, &between, &|time| small(time) + 0.25)],
        vec![series(3, &alone, &|time| small(time))],
        all(&[11_500], &|time| small(time)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn small(number: i64) -> f64 {
    number as f64
}

/// Series with histograms of every kind, in the parts that they are to be written in: of what comes
/// in one request a server takes all floats before the first histogram. None of a later part is
/// older than an hour before the last sample, or it would be refused.
pub(super) fn histograms() -> Vec<Vec<Series>> {
    let whole: Vec<_> = (0..400).map(exponential).collect();
    let fractions: Vec<_> = whole.iter().map(fraction).collect();
    let gauge = |i: u32| Histogram { reset_hint: 3, ..exponential(i * 7 % 90) };
    let gauges: Vec<_> = (0..200).map(gauge).collect();
    let all = vec![
        series("whole", whole),
        series("fractions", fractions),
        series("gauge", gauges.clone()),
        series("gauge_of_fractions", gauges.iter().map(fraction).collect()),
        series("bounds", (0..200).map(bounds).collect()),
        series("bounds_of_fractions", (0..200).map(|i| fraction(&bounds(i))).collect()),
        series(
            "ends",
            [(0..10).map(exponential).collect(), vec![stale()], vec![exponential(3)]].concat(),
        ),
        floats(),
        Series { floats: vec![(START_MS, 1.0)], ..Series::new("a.b", &[("ü x", "y")]) },
    ];
    let [before, between, after] = mixed();
    vec![[all, vec![before]].concat(), vec![between], vec![after]]
}

fn series(name: &str, histograms: Vec<Histogram>) -> Series {
    let times = (0..).map(|i| START_MS + i * 15_000 + i % 3);
    Series { histograms: times.zip(histograms).collect(), ..Series::new(name, &[("k", "v")]) }
}

/// A counter: it grows, gets a new bucket now and then, and starts again at 250.
fn exponential(i: u32) -> Histogram {
    let age = i64::from(if i < 250 { i } else { i - 250 });
    let more = usize::try_from(age / 40).expect("a few");
    let positive: Vec<i64> =
        (0..5 + more).map(|bucket| age * 3 + (bucket as i64 * 7) % 5).collect();
    let negative = vec![age, age / 2];
    let zero = age.cast_unsigned();
    let count = zero + positive.iter().chain(&negative).sum::<i64>().cast_unsigned();
    let tail = u32::try_from(more).expect("a few");
    let mut spans = vec![Span { offset: -3, length: 2 }, Span { offset: 4, length: 3 }];
    spans.extend((tail > 0).then_some(Span { offset: 1000, length: tail }));
    Histogram {
        schema: 3,
        zero_threshold: [0.001, 2_f64.powi(-128), 0.0, 0.8][(i as usize / 100) % 4],
        sum: f64::from(i) * 1.75 - 3.0,
        positive: spans,
        negative: vec![Span { offset: 1, length: 2 }],
        counts: Counts::Whole { count, zero, positive, negative },
        ..Histogram::default()
    }
}

/// Custom bounds: some are multiples of a thousandth, which have a short form.
fn bounds(i: u32) -> Histogram {
    let positive = vec![i64::from(i), i64::from(i / 2), 3];
    let count = positive.iter().sum::<i64>().cast_unsigned();
    Histogram {
        schema: -53,
        sum: f64::from(i) * 0.1,
        positive: vec![Span { offset: 0, length: 2 }, Span { offset: 1, length: 1 }],
        counts: Counts::Whole { count, zero: 0, positive, negative: Vec::new() },
        bounds: vec![0.005, 0.25, 33_554.43, 1.0 / 3.0 + 40_000.0],
        ..Histogram::default()
    }
}

fn stale() -> Histogram {
    Histogram { sum: STALE, ..Histogram::default() }
}

/// The same with a quarter more of everything.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn fraction(of: &Histogram) -> Histogram {
    let Counts::Whole { count, zero, positive, negative } = &of.counts else { return of.clone() };
    let float = |counts: &[i64]| counts.iter().map(|count| *count as f64 * 1.25).collect();
    let counts = Counts::Float {
        count: *count as f64 * 1.25,
        zero: *zero as f64 * 1.25,
        positive: float(positive),
        negative: float(negative),
    };
    Histogram { counts, ..of.clone() }
}

/// Floats, histograms, floats again, of one series.
fn mixed() -> [Series; 3] {
    let at = |i: u32| START_MS + i64::from(i) * 15_000;
    let floats = |range: std::ops::Range<u32>| Series {
        floats: range.map(|i| (at(i), f64::from(i))).collect(),
        ..series("mixed", Vec::new())
    };
    let mut histograms = series("mixed", (0..60).map(exponential).collect());
    histograms.histograms.iter_mut().for_each(|(time, _)| *time += 300 * 15_000);
    [floats(200..300), histograms, floats(360..370)]
}

/// Floats with stale markers, one of them between two ordinary NaN.
fn floats() -> Series {
    let values = (0..200_i64).map(|i| match i {
        20 | 99 | 199 => STALE,
        19 | 21 => f64::NAN,
        _ => small(i) / 8.0,
    });
    let floats = (0..).map(|i| START_MS + i * 15_000).zip(values).collect();
    Series { floats, ..Series::new("floats", &[("k", "v")]) }
}
