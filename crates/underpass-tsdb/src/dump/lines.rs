//! Samples as lines of text.
//!
//! A line is its series' part, which is made once, and then a number and a timestamp, in an order
//! that the format has. These are copied as pieces of fixed length into a page, each over what the
//! one before it wrote too much: so a line takes no call and hardly a branch.

use super::Format;
use super::clock::{Clock, Unit};
use super::histogram;
use super::number::{Notation, Number};
use super::page::Page;
use super::pipeline::Stopped;
use super::{quote, series};
use crate::labels::Labels;
use crate::sample::{Float, HistogramSample, Samples, is_stale};

/// More than what a line has behind its series' part: a number, a timestamp and what is around
/// them.
const TAIL: usize = 128;

/// Writes the samples of one series after the other.
#[derive(Debug)]
pub(super) struct Lines {
    format: Format,
    /// The series' part of each of its lines.
    series: Vec<u8>,
    number: Number,
    clock: Clock,
    /// A histogram, as text.
    histogram: Vec<u8>,
}

impl Lines {
    pub(super) fn new(format: Format) -> Self {
        let (notation, unit) = match format {
            Format::Text => (Notation::Go, Unit::Milliseconds),
            Format::OpenMetrics => (Notation::Go, Unit::Seconds),
            Format::Csv | Format::JsonLines => (Notation::Api, Unit::Milliseconds),
        };
        Self {
            format,
            series: Vec::new(),
            number: Number::new(notation),
            clock: Clock::new(unit),
            histogram: Vec::new(),
        }
    }

    /// What follows is of the series with these labels.
    pub(super) fn set_series(&mut self, labels: &Labels) {
        self.series.clear();
        series::push(labels, self.format, &mut self.series);
    }

    /// Writes samples of the series, those of both kinds in order of time. Returns how many the
    /// format cannot hold.
    pub(super) fn write<L>(
        &mut self,
        samples: &Samples,
        page: &mut Page<'_, '_, L>,
    ) -> Result<u64, Stopped> {
        if self.format == Format::OpenMetrics {
            self.write_floats(&samples.floats, page)?;
            return Ok(samples.histograms.len() as u64);
        }
        let mut floats = samples.floats.as_slice();
        for sample in &samples.histograms {
            let before = floats.partition_point(|float| float.time < sample.time);
            let (earlier, rest) = floats.split_at(before);
            self.write_floats(earlier, page)?;
            self.write_histogram(sample, page)?;
            floats = rest;
        }
        self.write_floats(floats, page)?;
        Ok(0)
    }

    fn write_floats<L>(
        &mut self,
        floats: &[Float],
        page: &mut Page<'_, '_, L>,
    ) -> Result<(), Stopped> {
        let before = self.series.len();
        for float in floats {
            let line = page.room(before + TAIL)?;
            let (series, tail) = line.split_at_mut(before);
            series.copy_from_slice(&self.series);
            let Some(tail) = tail.first_chunk_mut() else { return Ok(()) };
            let len = self.write_tail(*float, tail);
            page.fill(before + len);
        }
        Ok(())
    }

    #[inline]
    fn write_tail(&mut self, float: Float, tail: &mut [u8; TAIL]) -> usize {
        self.number.set(float.value);
        let mut tail = Tail { bytes: tail, len: 0 };
        match self.format {
            Format::Text | Format::OpenMetrics => {
                tail.number(&self.number);
                tail.push(*b" ");
                tail.time(&mut self.clock, float.time);
                tail.push(*b"\n");
            }
            Format::Csv => {
                tail.time(&mut self.clock, float.time);
                tail.push(*b",");
                tail.number(&self.number);
                tail.push(*b",\r\n");
            }
            Format::JsonLines => {
                tail.time(&mut self.clock, float.time);
                tail.push(*b",\"value\":");
                tail.json_number(&self.number, float.value);
                tail.push(*b"}\n");
            }
        }
        tail.len
    }

    fn write_histogram<L>(
        &mut self,
        sample: &HistogramSample,
        page: &mut Page<'_, '_, L>,
    ) -> Result<(), Stopped> {
        let Self { format, histogram: text, series, clock, .. } = self;
        text.clear();
        text.extend(&*series);
        let mut time = [0; Clock::SPACE];
        let len = clock.write(sample.time, &mut time);
        let time = &time[..len];
        match format {
            Format::Text | Format::OpenMetrics => {
                histogram::go(&sample.histogram, text);
                text.extend([b" ", time, b"\n"].concat());
            }
            Format::Csv => {
                let mut json = Vec::new();
                histogram::json(&sample.histogram, &mut json);
                text.extend([time, b",,"].concat());
                quote::csv(&json, text);
                text.extend(b"\r\n");
            }
            Format::JsonLines => {
                text.extend([time, b",\"histogram\":"].concat());
                histogram::json(&sample.histogram, text);
                if is_stale(sample.histogram.sum) {
                    text.extend(b",\"stale\":true");
                }
                text.extend(b"}\n");
            }
        }
        page.push(text)
    }
}

/// The end of a line. What is copied into it may be longer than what counts of it.
struct Tail<'t> {
    bytes: &'t mut [u8; TAIL],
    len: usize,
}

impl Tail<'_> {
    #[inline]
    fn push<const N: usize>(&mut self, text: [u8; N]) {
        self.bytes[self.len..self.len + N].copy_from_slice(&text);
        self.len += N;
    }

    #[inline]
    fn number(&mut self, number: &Number) {
        let (bytes, len) = number.padded();
        self.bytes[self.len..self.len + Number::SPACE].copy_from_slice(bytes);
        self.len += len;
    }

    /// JSON has no NaN and no infinity: they are strings.
    #[inline]
    fn json_number(&mut self, number: &Number, value: f64) {
        if value.is_finite() {
            return self.number(number);
        }
        self.push(*b"\"");
        self.number(number);
        self.push(*b"\"");
        if is_stale(value) {
            self.push(*b",\"stale\":true");
        }
    }

    #[inline]
    fn time(&mut self, clock: &mut Clock, time: i64) {
        let room = self.bytes[self.len..].first_chunk_mut();
        self.len += room.map_or(0, |room| clock.write(time, room));
    }
}

/// The line before all others.
pub(super) const fn head(format: Format) -> &'static [u8] {
    match format {
        Format::Text | Format::OpenMetrics | Format::JsonLines => b"",
        Format::Csv => b"metric,labels,timestamp_ms,value,histogram\r\n",
    }
}

/// The line behind all others.
pub(super) const fn end(format: Format) -> &'static [u8] {
    match format {
        Format::Text | Format::Csv | Format::JsonLines => b"",
        Format::OpenMetrics => b"# EOF\n",
    }
}

#[cfg(test)]
mod tests {
    use super::super::pipeline::{Outlet, Piece};
    use std::sync::Arc;

    use super::*;
    use crate::sample::{Counts, Histogram, Reset, STALE};

    fn labels(pairs: &[(&str, &[u8])]) -> Labels {
        let mut labels = Labels::default();
        pairs.iter().for_each(|(name, value)| labels.push(name.as_bytes(), value));
        labels
    }

    fn dumped(format: Format, series: &[(Labels, Samples)]) -> String {
        let mut text = Vec::new();
        let mut deliver = |piece: Piece<'_, ()>| {
            if let Piece::Text(piece) = piece {
                text.extend(piece);
            }
            Ok(())
        };
        let mut outlet = Outlet::Direct(&mut deliver);
        let mut page = Page::new(Vec::new(), &mut outlet);
        let mut lines = Lines::new(format);
        for (labels, samples) in series {
            lines.set_series(labels);
            lines.write(samples, &mut page).unwrap();
        }
        page.end().unwrap();
        String::from_utf8(text).unwrap()
    }

    fn floats(pairs: &[(i64, f64)]) -> Samples {
        let floats = pairs.iter().map(|&(time, value)| Float { time, value }).collect();
        Samples { floats, histograms: Vec::new() }
    }

    /// Two series: one as usual, one with all that is odd.
    fn two() -> [(Labels, Samples); 2] {
        let usual = labels(&[("__name__", b"up"), ("job", b"node")]);
        let odd = labels(&[("a.b", b"x"), ("v", b"q\"b\\n\nt\t,\xff")]);
        let values = [
            (1_700_000_000_000, 1.0),
            (1_700_000_015_000, 1_234_567.0),
            (1_700_000_030_500, f64::from_bits(STALE)),
        ];
        [(usual, floats(&values)), (odd, floats(&[(-1, f64::INFINITY)]))]
    }

    #[test]
    fn text_is_promtools() {
        let expected = concat!(
            "{__name__=\"up\", job=\"node\"} 1 1700000000000\n",
            "{__name__=\"up\", job=\"node\"} 1.234567e+06 1700000015000\n",
            "{__name__=\"up\", job=\"node\"} NaN 1700000030500\n",
            "{\"a.b\"=\"x\", v=\"q\\\"b\\\\n\\nt\\t,\\xff\"} +Inf -1\n",
        );
        assert_eq!(dumped(Format::Text, &two()), expected);
    }

    #[test]
    fn openmetrics_has_seconds_and_the_metric_in_front() {
        let expected = concat!(
            "up{job=\"node\"} 1 1700000000.000\n",
            "up{job=\"node\"} 1.234567e+06 1700000015.000\n",
            "up{job=\"node\"} NaN 1700000030.500\n",
            "{\"a.b\"=\"x\",v=\"q\\\"b\\\\n\\nt\t,\\xff\"} +Inf -0.001\n",
        );
        assert_eq!(dumped(Format::OpenMetrics, &two()), expected);
    }

    #[test]
    fn openmetrics_quotes_a_metric_name_that_older_versions_do_not_know() {
        let series = [
            (labels(&[("__name__", b"a.b")]), floats(&[(0, 1.0)])),
            (labels(&[("__name__", b"a.b"), ("c", b"d")]), floats(&[(0, 1.0)])),
            (labels(&[("__name__", b"a:b")]), floats(&[(0, 1.0)])),
        ];
        let expected = "{\"a.b\"} 1 0.000\n{\"a.b\",c=\"d\"} 1 0.000\na:b{} 1 0.000\n";
        assert_eq!(dumped(Format::OpenMetrics, &series), expected);
    }

    #[test]
    fn csv_has_a_column_for_each_thing() {
        let expected = concat!(
            "up,\"{\"\"job\"\":\"\"node\"\"}\",1700000000000,1,\r\n",
            "up,\"{\"\"job\"\":\"\"node\"\"}\",1700000015000,1234567,\r\n",
            "up,\"{\"\"job\"\":\"\"node\"\"}\",1700000030500,NaN,\r\n",
            ",\"{\"\"a.b\"\":\"\"x\"\",",
            "\"\"v\"\":\"\"q\\\"\"b\\\\n\\nt\\t,\u{fffd}\"\"}\",-1,+Inf,\r\n",
        );
        assert_eq!(dumped(Format::Csv, &two()), expected);
    }

    #[test]
    fn json_tells_a_stale_marker_from_another_nan() {
        let expected = concat!(
            r#"{"metric":{"__name__":"up","job":"node"},"timestamp":1700000000000,"value":1}"#,
            "\n",
            r#"{"metric":{"__name__":"up","job":"node"},"timestamp":1700000015000,"#,
            r#""value":1234567}"#,
            "\n",
            r#"{"metric":{"__name__":"up","job":"node"},"timestamp":1700000030500,"#,
            r#""value":"NaN","stale":true}"#,
            "\n",
            r#"{"metric":{"a.b":"x","v":"q\"b\\n\nt\t,"#,
            "\u{fffd}",
            r#""},"timestamp":-1,"value":"+Inf"}"#,
            "\n",
        );
        assert_eq!(dumped(Format::JsonLines, &two()), expected);
    }

    /// A float, a histogram and a float of one series, and a histogram that marks its end.
    fn mixed() -> [(Labels, Samples); 1] {
        let histogram = |time, sum| {
            let counts =
                Counts::Integer { count: 0, zero: 0, positive: Vec::new(), negative: Vec::new() };
            let (layout, reset) = (Arc::default(), Reset::Unknown);
            HistogramSample { time, histogram: Histogram { layout, reset, sum, counts } }
        };
        let histograms = vec![histogram(2_000, 0.5), histogram(4_000, f64::from_bits(STALE))];
        let samples = Samples { histograms, ..floats(&[(1_000, 1.0), (3_000, 3.0)]) };
        [(labels(&[("__name__", b"m")]), samples)]
    }

    #[test]
    fn floats_and_histograms_of_a_series_are_in_the_order_of_time() {
        let text = "{__name__=\"m\"} 1 1000\n\
                    {__name__=\"m\"} {count:0, sum:0.5} 2000\n\
                    {__name__=\"m\"} 3 3000\n\
                    {__name__=\"m\"} {count:0, sum:NaN} 4000\n";
        assert_eq!(dumped(Format::Text, &mixed()), text);
        let csv = "m,{},1000,1,\r\n\
                   m,{},2000,,\"{\"\"count\"\":\"\"0\"\",\"\"sum\"\":\"\"0.5\"\"}\"\r\n\
                   m,{},3000,3,\r\n\
                   m,{},4000,,\"{\"\"count\"\":\"\"0\"\",\"\"sum\"\":\"\"NaN\"\"}\"\r\n";
        assert_eq!(dumped(Format::Csv, &mixed()), csv);
        let json = concat!(
            r#"{"metric":{"__name__":"m"},"timestamp":1000,"value":1}"#,
            "\n",
            r#"{"metric":{"__name__":"m"},"timestamp":2000,"histogram":{"count":"0","sum":"0.5"}}"#,
            "\n",
            r#"{"metric":{"__name__":"m"},"timestamp":3000,"value":3}"#,
            "\n",
            r#"{"metric":{"__name__":"m"},"timestamp":4000,"histogram":"#,
            r#"{"count":"0","sum":"NaN"},"stale":true}"#,
            "\n",
        );
        assert_eq!(dumped(Format::JsonLines, &mixed()), json);
        assert_eq!(dumped(Format::OpenMetrics, &mixed()), "m{} 1 1.000\nm{} 3 3.000\n");
    }
}
