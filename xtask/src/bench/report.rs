//! What a bench prints and, asked to record, leaves under `bench/runs/`.
//!
//! Every sample of every round is kept, not only the figures that are printed, and the machine
//! and the exact command stand beside them. A failed request is a quantity like the others.
//!
//! A recorded run is a directory: `README.md` (command, commit, machine), `raw.csv` (one sample a
//! line), `summary.txt` (what was printed).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::stats;
use crate::process::output;
use crate::workspace;

/// Which way a quantity is better, hence which of its values is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
    /// Neither: it only explains the others, and no ratio of it is shown.
    Neither,
}

/// One column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantity {
    /// Its name with the unit: `req/s`.
    pub name: &'static str,
    pub better: Better,
    pub decimals: usize,
}

/// 10^9 bytes a second.
pub(crate) const FLOW: Quantity = Quantity { name: "GB/s", better: Better::More, decimals: 2 };
/// Processor seconds for 10^9 bytes.
pub(crate) const PRICE: Quantity = Quantity { name: "CPU s/GB", better: Better::Less, decimals: 4 };

impl Quantity {
    fn width(self) -> usize {
        if self.better == Better::Neither { 16 } else { 26 }
    }
}

/// The samples of one bench.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Nothing is printed: the figures are those of a debug build.
    is_silent: bool,
    summary: String,
    csv: String,
    samples: BTreeMap<(String, String, &'static str), Vec<f64>>,
}

impl Report {
    /// Without samples yet; a silent one prints nothing.
    pub(crate) fn new(is_silent: bool) -> Self {
        Self { is_silent, ..Self::default() }
    }

    /// Keeps one sample.
    pub(crate) fn sample(&mut self, case: &str, who: &str, quantity: Quantity, value: f64) {
        let values = self.samples.entry((case.to_owned(), who.to_owned(), quantity.name));
        let values = values.or_default();
        values.push(value);
        let round = values.len();
        writeln!(self.csv, "{case},{who},{round},{},{value}", quantity.name)
            .expect("a String takes every write");
    }

    /// The median of the rounds so far; `NaN` without any.
    pub(crate) fn median(&self, case: &str, who: &str, quantity: Quantity) -> f64 {
        stats::median(self.values(case, who, quantity))
    }

    /// The worst of the rounds so far; `NaN` without any.
    pub(crate) fn worst(&self, case: &str, who: &str, quantity: Quantity) -> f64 {
        let values = self.values(case, who, quantity).iter().copied();
        match quantity.better {
            Better::More => values.fold(f64::NAN, f64::min),
            Better::Less | Better::Neither => values.fold(f64::NAN, f64::max),
        }
    }

    /// The ratio of two competitors round by round: its median, least and greatest. Neighbours
    /// in time are compared, so a slow moment of the machine hits both.
    pub(crate) fn paired(&self, case: &str, quantity: Quantity, who: [&str; 2]) -> [f64; 3] {
        let [over, under] = who.map(|who| self.values(case, who, quantity));
        let ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over / under).collect();
        let least = ratios.iter().copied().fold(f64::NAN, f64::min);
        let greatest = ratios.iter().copied().fold(f64::NAN, f64::max);
        [stats::median(&ratios), least, greatest]
    }

    fn values(&self, case: &str, who: &str, quantity: Quantity) -> &[f64] {
        let key = (case.to_owned(), who.to_owned(), quantity.name);
        self.samples.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Prints a line and keeps it for the summary.
    pub(crate) fn line(&mut self, line: &str) {
        if !self.is_silent {
            println!("{line}");
        }
        self.summary.push_str(line);
        self.summary.push('\n');
    }

    /// Prints one case: a row for each competitor; of each quantity its median, the worst in
    /// brackets, and the ratio of the medians to those of the first competitor.
    pub(crate) fn table(&mut self, case: &str, title: &str, whos: &[&str], columns: &[Quantity]) {
        let mut header = format!("{title:<38}");
        for column in columns {
            let ratio = if column.better == Better::Neither { "" } else { " ratio" };
            let cell = format!("{} (worst){ratio}", column.name);
            write!(header, "  {cell:>width$}", width = column.width())
                .expect("a String takes every write");
        }
        self.line(&header);
        for who in whos {
            let mut row = format!("  {who:<36}");
            for column in columns {
                let (median, worst) =
                    (self.median(case, who, *column), self.worst(case, who, *column));
                let first =
                    whos.first().map_or(f64::NAN, |first| self.median(case, first, *column));
                let decimals = column.decimals;
                let mut cell = format!("{median:.decimals$} ({worst:.decimals$})");
                if column.better != Better::Neither {
                    write!(cell, " {:>5.2}", median / first).expect("a String takes every write");
                }
                write!(row, "  {cell:>width$}", width = column.width())
                    .expect("a String takes every write");
            }
            self.line(&row);
        }
    }

    /// Writes the run to `bench/runs/<date>-<name>/`.
    ///
    /// # Errors
    ///
    /// If the directory exists: a recorded run is not overwritten.
    pub(crate) fn record(&self, name: &str, command: &str) -> Result<()> {
        let date = output(Command::new("date").args(["-u", "+%F"]))?;
        let dir = workspace::root().join("bench/runs").join(format!("{date}-{name}"));
        ensure!(!dir.exists(), "{} exists; choose another name", dir.display());
        std::fs::create_dir_all(&dir)?;
        let readme = format!(
            "# {name}, {date}\n\n```\n{command}\n```\n\n{}\nEvery sample is in `raw.csv`, what was \
             printed in `summary.txt`.\nLoopback only: no network card took part, and what it \
             would save or cost is not measured.\n",
            machine()?
        );
        write(&dir, "README.md", &readme)?;
        write(&dir, "summary.txt", &self.summary)?;
        write(&dir, "raw.csv", &format!("case,who,round,quantity,value\n{}", self.csv))?;
        println!("recorded in {}", dir.display());
        Ok(())
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    std::fs::write(dir.join(name), text).with_context(|| format!("{}/{name}", dir.display()))
}

/// How busy the machine is: of the last one, five and fifteen minutes.
pub(crate) fn load_average() -> Result<String> {
    let line = std::fs::read_to_string("/proc/loadavg")?;
    Ok(line.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

/// The lines that make a run comparable with another.
fn machine() -> Result<String> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let git = |args: &[&str]| output(Command::new("git").args(args).current_dir(workspace::root()));
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let state = if changed.is_empty() { "" } else { " with uncommitted changes" };
    Ok(format!(
        "| | |\n|---|---|\n| commit | {commit}{state} |\n| kernel | {} |\n| CPU | {} x {model} |\n\
         | congestion control | {} |\n| load average at the end | {} |\n| rustc | {} |\n",
        output(Command::new("uname").arg("-sr"))?,
        super::cpu::count()?,
        std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?.trim(),
        load_average()?,
        output(Command::new("rustc").arg("--version"))?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Quantity = Quantity { name: "req/s", better: Better::More, decimals: 0 };
    const COST: Quantity = Quantity { name: "us", better: Better::Less, decimals: 1 };
    const FAILED: Quantity = Quantity { name: "failed", better: Better::Neither, decimals: 0 };

    #[test]
    fn a_paired_ratio_is_taken_round_by_round() {
        let mut report = Report::default();
        for (a, b) in [(1.0, 2.0), (4.0, 4.0), (8.0, 2.0)] {
            report.sample("x", "a", COST, a);
            report.sample("x", "b", COST, b);
        }
        let ratios = report.paired("x", COST, ["a", "b"]);
        for (ratio, expected) in ratios.iter().zip([1.0, 0.5, 4.0]) {
            assert!((ratio - expected).abs() < 1e-9, "{ratios:?}");
        }
    }

    #[test]
    fn a_table_shows_medians_worsts_and_ratios_to_the_first_row() {
        let mut report = Report::default();
        for (who, rates) in [("a", [100.0, 300.0, 200.0]), ("b", [250.0, 350.0, 300.0])] {
            for rate in rates {
                report.sample("x", who, RATE, rate);
                report.sample("x", who, COST, 1000.0 / rate);
            }
        }
        report.sample("x", "a", FAILED, 7.0);
        report.table("x", "case x", &["a", "b"], &[RATE, COST, FAILED]);
        let rows: Vec<String> = report
            .summary
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(rows[1], "a 200 (100) 1.00 5.0 (10.0) 1.00 7 (7)");
        assert_eq!(rows[2], "b 300 (250) 1.50 3.3 (4.0) 0.67 NaN (NaN)");
        assert!(report.csv.starts_with("x,a,1,req/s,100\nx,a,1,us,10\n"), "{}", report.csv);
    }
}
