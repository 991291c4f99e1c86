//! OpenMetrics text for promtool to make blocks of.
//!
//! Source: the OpenMetrics specification 1.0; `promtool tsdb create-blocks-from openmetrics`.

use std::fmt::Write as _;
use std::io::{self, Write};

/// Where times start, in seconds: a multiple of the two hours of a block.
pub(super) const START: u64 = 1_699_999_200;

/// How many series there are, and how many samples each has.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Half of them counters of whole numbers, half of them gauges.
    pub metrics: u32,
    /// Values of the label `instance`.
    pub instances: u32,
    /// Values of the label `core`.
    pub cores: u32,
    /// Samples of each series, 15 seconds apart.
    pub samples: u32,
}

/// Writes a text with what is planned; the same one each time.
///
/// # Errors
///
/// Those of writing.
pub fn write_open_metrics(plan: Plan, to: &mut impl Write) -> io::Result<()> {
    let mut chance = Chance(12);
    let mut lines = String::new();
    for metric in 0..plan.metrics {
        let is_counter = metric % 2 == 0;
        let family = format!("app_{}_{metric:02}", if is_counter { "requests" } else { "celsius" });
        writeln!(to, "# TYPE {family} {}", if is_counter { "counter" } else { "gauge" })?;
        let name = if is_counter { format!("{family}_total") } else { family };
        for (instance, core) in (0..plan.instances)
            .flat_map(|instance| (0..plan.cores).map(move |core| (instance, core)))
        {
            let labels = format!(
                "{name}{{core=\"{core}\",instance=\"host-{instance:03}.example.org:9100\",\
                 job=\"node\",zone=\"zone-{}\"}}",
                instance % 4
            );
            lines.clear();
            if is_counter {
                counter(&mut lines, &labels, plan.samples, &mut chance);
            } else {
                gauge(&mut lines, &labels, plan.samples, &mut chance);
            }
            to.write_all(lines.as_bytes())?;
        }
    }
    writeln!(to, "# EOF")
}

fn counter(lines: &mut String, labels: &str, samples: u32, chance: &mut Chance) {
    let (mut value, pace) = (chance.below(1_000_000), chance.below(500) + 1);
    for i in 0..samples {
        value += chance.below(pace);
        line(lines, labels, &value.to_string(), i);
    }
}

/// Often the same as before, else with one to fifteen digits behind the point.
fn gauge(lines: &mut String, labels: &str, samples: u32, chance: &mut Chance) {
    let mut value = String::new();
    for i in 0..samples {
        if i == 0 || chance.below(10) < 7 {
            let digits = [1_u32, 2, 3, 15].map(|digits| 10_u64.pow(digits));
            let scale = digits[chance.below(4).try_into().unwrap_or(0)];
            let width = scale.ilog10() as usize;
            value = format!("{}.{:0width$}", chance.below(90) + 10, chance.below(scale));
        }
        line(lines, labels, &value, i);
    }
}

fn line(lines: &mut String, labels: &str, value: &str, i: u32) {
    let time = START + u64::from(i) * 15;
    writeln!(lines, "{labels} {value} {time}").expect("a String takes every write");
}

/// Every form that a value is printed in, label values that have to be quoted, and times with
/// milliseconds.
pub(super) fn odd() -> String {
    let mut text = "# TYPE values gauge\n".to_owned();
    for n in 0..5_usize {
        for i in 0..300 {
            let value = VALUES[(i * (n + 1) + n) % VALUES.len()];
            let (time, ms) = (START + i as u64 * 15, (i * 37) % 1000);
            writeln!(text, "values{{n=\"{n}\"}} {value} {time}.{ms:03}")
                .expect("a String takes every write");
        }
    }
    text.push_str("# TYPE escapes gauge\n");
    for i in 0..130 {
        line(&mut text, ESCAPES, &i.to_string(), i * 4);
    }
    text.push_str("# TYPE plain gauge\n");
    for i in 0..20 {
        line(&mut text, "plain", &format!("{i}.5"), i);
    }
    text + "# EOF\n"
}

/// A block with the series a and b.
pub(super) fn first_of_two() -> String {
    let a = (0..300).map(|i| ("a", i * 2, i));
    let b = (0..100).map(|i| ("b", i, i));
    overlapping(a.chain(b))
}

/// A block of the same two hours with the series b and c: of b some samples are the same, some
/// have another value, some are between.
pub(super) fn second_of_two() -> String {
    let b = (50..200).map(|i| ("b", i, if i < 75 { i } else { i + 1000 }));
    let c = (0..150).map(|i| ("c", i * 3, i));
    let late_a = (0..100).map(|i| ("a", i * 4 + 1, i + 5000));
    overlapping(b.chain(c).chain(late_a))
}

fn overlapping(samples: impl Iterator<Item = (&'static str, u32, u32)>) -> String {
    let mut text = "# TYPE overlapping gauge\n".to_owned();
    for (series, i, value) in samples {
        line(&mut text, &format!("overlapping{{series=\"{series}\"}}"), &value.to_string(), i);
    }
    text + "# EOF\n"
}

const ESCAPES: &str = "escapes{a=\"q\\\"uote\",b=\"back\\\\slash\",c=\"line\\nbreak\",\
                       d=\"tab\there\",\
                       e=\"münchen ✓ 日本 \u{200b}\u{a0}\u{1f600}\u{7}\u{7f}\",f=\"\"}";

const VALUES: [&str; 25] = [
    "1",
    "0",
    "-0",
    "NaN",
    "+Inf",
    "-Inf",
    "1e+06",
    "123456789",
    "1e-05",
    "0.0001",
    "0.00001234",
    "100000",
    "999999",
    "1000000",
    "1e21",
    "1e20",
    "1.7976931348623157e308",
    "5e-324",
    "0.1",
    "-2.5",
    "3.141592653589793",
    "1e100",
    "123456.789",
    "9007199254740993",
    "0.30000000000000004",
];

/// Numbers without a pattern, the same ones each time: xorshift64*.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }
}
