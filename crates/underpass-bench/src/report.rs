//! What a bench prints and, asked to record, leaves under `bench/runs/`.
//!
//! Every sample of every round is kept, not only the figures that are printed, and the machine
//! and the exact command are recorded with them. A failed request is a quantity like the others.
//!
//! Ratios are taken round by round, between neighbours in time, so a slow moment of the machine
//! hits both sides.
//!
//! A recorded run is a directory: `README.md` (command, commit, machine), `raw.csv` (one sample a
//! line), `summary.txt` (what was printed).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::cpu::{self, Spent};
use super::peers::{NEW, OLD};
use super::stats;
use underpass_testkit::process::output;
use underpass_testkit::workspace;

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

/// Processor seconds for 10^9 bytes.
pub(crate) const PRICE: Quantity = Quantity { name: "CPU s/GB", better: Better::Less, decimals: 4 };
/// 10^9 bytes a second.
pub(crate) const FLOW: Quantity = Quantity { name: "GB/s", better: Better::More, decimals: 2 };
/// The share of one CPU that was used. Clearly below one, the other side was the limit.
pub(crate) const BUSY: Quantity = Quantity { name: "busy", better: Better::Neither, decimals: 2 };

/// The head of the ratios in a table: the median of all rounds, the least and the greatest.
const RATIO: &str = "ratio (from to)";

impl Quantity {
    fn width(self) -> usize {
        if self.better == Better::Neither { 20 } else { 42 }
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
    /// Who has samples of which case, in the order of their first.
    rows: Vec<(String, String)>,
}

impl Report {
    /// Without samples yet; a silent one prints nothing.
    pub(crate) fn new(is_silent: bool) -> Self {
        Self { is_silent, ..Self::default() }
    }

    /// Keeps one sample.
    pub(crate) fn sample(&mut self, case: &str, who: &str, quantity: Quantity, value: f64) {
        let row = (case.to_owned(), who.to_owned());
        if !self.rows.contains(&row) {
            self.rows.push(row.clone());
        }
        let values = self.samples.entry((row.0, row.1, quantity.name)).or_default();
        values.push(value);
        let round = values.len();
        let who = who.replace(',', "");
        writeln!(self.csv, "{case},{who},{round},{},{value}", quantity.name)
            .expect("a String takes every write");
    }

    /// Keeps what it took to move this many bytes.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 bytes")]
    pub(crate) fn moved(&mut self, case: &str, who: &str, bytes: u64, spent: Spent) {
        let gigabytes = bytes as f64 / 1e9;
        self.sample(case, who, PRICE, spent.cpu.as_secs_f64() / gigabytes);
        self.sample(case, who, FLOW, gigabytes / spent.wall.as_secs_f64());
    }

    /// The median of the rounds so far; `NaN` without any.
    fn median(&self, case: &str, who: &str, quantity: Quantity) -> f64 {
        stats::median(self.values(case, who, quantity))
    }

    /// The worst of the rounds so far; `NaN` without any.
    fn worst(&self, case: &str, who: &str, quantity: Quantity) -> f64 {
        let values = self.values(case, who, quantity).iter().copied();
        match quantity.better {
            Better::More => values.fold(f64::NAN, f64::min),
            Better::Less | Better::Neither => values.fold(f64::NAN, f64::max),
        }
    }

    /// The ratio of two competitors round by round: `median (least to greatest)`.
    fn ratio(&self, case: &str, quantity: Quantity, [over, under]: [&str; 2]) -> String {
        let [over, under] = [over, under].map(|who| self.values(case, who, quantity));
        let ratios: Vec<f64> = over.iter().zip(under).map(|(over, under)| over / under).collect();
        let least = ratios.iter().copied().fold(f64::NAN, f64::min);
        let greatest = ratios.iter().copied().fold(f64::NAN, f64::max);
        format!("{:.3} ({least:.2} to {greatest:.2})", stats::median(&ratios))
    }

    fn values(&self, case: &str, who: &str, quantity: Quantity) -> &[f64] {
        let key = (case.to_owned(), who.to_owned(), quantity.name);
        self.samples.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Prints a line and keeps it for the summary.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if !self.is_silent {
            println!("{line}");
        }
        self.summary.push_str(line);
        self.summary.push('\n');
    }

    /// Prints one case: a row for each competitor, in the order of the first round; of each
    /// quantity its median, the worst in brackets, and the ratio to the first competitor. If an
    /// earlier `underpass` took part, a last row has the ratio of the new one to it.
    pub(crate) fn table(&mut self, case: &str, title: &str, columns: &[Quantity]) {
        let rows = self.rows.iter().filter(|(of, _)| of == case);
        let whos: Vec<&str> = rows.map(|(_, who)| who.as_str()).collect();
        let header = columns.iter().map(|column| match column.better {
            Better::Neither => format!("{} (worst)", column.name),
            Better::More | Better::Less => format!("{} (worst)  {RATIO:<20}", column.name),
        });
        let mut rows = vec![(title.to_owned(), header.collect::<Vec<_>>())];
        for who in &whos {
            let cells = columns.iter().map(|column| self.cell(case, *column, who, &whos));
            rows.push((format!("  {who}"), cells.collect()));
        }
        if whos.contains(&OLD) && whos.contains(&NEW) {
            let cells = columns.iter().map(|column| match column.better {
                Better::Neither => String::new(),
                Better::More | Better::Less => {
                    format!("{:<20}", self.ratio(case, *column, [NEW, OLD]))
                }
            });
            rows.push((format!("  {NEW} / {OLD}"), cells.collect()));
        }
        self.line("");
        for (label, cells) in rows {
            let mut line = format!("{label:<40}");
            for (cell, column) in cells.iter().zip(columns) {
                write!(line, "{cell:>width$}", width = column.width())
                    .expect("a String takes every write");
            }
            self.line(&line);
        }
    }

    fn cell(&self, case: &str, column: Quantity, who: &str, whos: &[&str]) -> String {
        let (median, worst) = (self.median(case, who, column), self.worst(case, who, column));
        let cell = format!("{median:.0$} ({worst:.0$})", column.decimals);
        match whos.first() {
            _ if column.better == Better::Neither => cell,
            Some(first) if *first != who => {
                format!("{cell}  {:<20}", self.ratio(case, column, [who, first]))
            }
            Some(_) | None => format!("{cell}  {:<20}", "1"),
        }
    }

    /// Writes the run to `bench/runs/<name>/`.
    ///
    /// # Errors
    ///
    /// If the directory exists: a recorded run is not overwritten.
    pub(crate) fn record(&self, name: &str, command: &str) -> Result<()> {
        let dir = run_dir(name);
        ensure!(!dir.exists(), "{} exists; choose another name", dir.display());
        let readme = format!(
            "# {name}\n\n```\n{command}\n```\n\n{}\nEvery sample is in `raw.csv`, what was \
             printed in `summary.txt`.\nLoopback only: no network card took part, and what it \
             would save or cost is not measured.\n",
            machine()?
        );
        std::fs::create_dir_all(&dir)?;
        let csv = format!("case,who,round,quantity,value\n{}", self.csv);
        for (name, text) in
            [("README.md", &readme), ("summary.txt", &self.summary), ("raw.csv", &csv)]
        {
            let file = dir.join(name);
            std::fs::write(&file, text).with_context(|| file.display().to_string())?;
        }
        println!("recorded in {}", dir.display());
        Ok(())
    }
}

/// Where a run of this name is recorded.
pub(crate) fn run_dir(name: &str) -> PathBuf {
    workspace::root().join("bench/runs").join(name)
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
        cpu::count()?,
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

    fn rows_of(report: &Report) -> Vec<String> {
        let rows = report.summary.lines().skip(1);
        rows.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_table_shows_medians_worsts_and_ratios_round_by_round_to_the_first_row() {
        let mut report = Report::default();
        for (who, rates) in [("a", [100.0, 300.0, 200.0]), ("b", [250.0, 150.0, 300.0])] {
            for rate in rates {
                report.sample("x", who, COST, 1000.0 / rate);
                report.sample("x", who, RATE, rate);
            }
        }
        report.sample("x", "a", FAILED, 7.0);
        report.table("x", "case x", &[COST, RATE, FAILED]);
        let rows = rows_of(&report);
        assert_eq!(rows[1], "a 5.0 (10.0) 1 200 (100) 1 7 (7)");
        let ratios = ("0.667 (0.40 to 2.00)", "1.500 (0.50 to 2.50)");
        assert_eq!(rows[2], format!("b 4.0 (6.7) {} 250 (150) {} NaN (NaN)", ratios.0, ratios.1));
        assert_eq!(rows.len(), 3);
        assert!(report.csv.starts_with("x,a,1,us,10\nx,a,1,req/s,100\n"), "{}", report.csv);
    }

    #[test]
    fn the_last_row_is_the_new_binary_against_the_old_one() {
        let mut report = Report::default();
        for (who, costs) in [("peer", [9.0, 9.0]), (OLD, [2.0, 4.0]), (NEW, [1.0, 3.0])] {
            for cost in costs {
                report.sample("x", who, COST, cost);
            }
        }
        report.table("x", "case x", &[COST]);
        let last = "underpass / underpass before 0.625 (0.50 to 0.75)";
        assert_eq!(rows_of(&report).last().unwrap(), last);
    }
}
