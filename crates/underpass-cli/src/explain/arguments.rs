//! What was typed after `underpass explain`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use underpass_measure::Tier;

/// A week: longer than any watch, and short enough for every clock.
const SECONDS_MAX: f64 = 604_800.0;

/// Explain what share of a program's file bytes left by reference, and why the rest did not.
///
/// Watches a running process and its children, or runs a command. For the bytes that went from
/// files to TCP sockets, it reports which share left by reference and which share the processor
/// copied, for each file and each peer. It also says why bytes were copied, on what evidence, and
/// what to change. The watched program is neither stopped nor changed.
///
/// Watching a process ends with Ctrl-C, after --for SECONDS, or when the process ends. Watching a
/// command ends when the command does. INT, TERM and HUP are passed on to it and to all that it has
/// started; who is left is asked by TERM after 2 seconds, and killed after 5 or at a signal later
/// than half a second after the first.
#[derive(Debug, Args)]
#[command(after_long_help = HELP, override_usage = USAGE)]
pub(crate) struct ExplainArguments {
    /// The process to watch, with its threads and children (of nginx: the master).
    #[arg(value_name = "PID", required_unless_present = "command", conflicts_with = "command")]
    pub(crate) process: Option<u32>,

    /// Also print the result so far every SECONDS.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) every: Option<Duration>,

    /// End after SECONDS; a command is then asked to end (SIGTERM).
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) length: Option<Duration>,

    /// Fail (exit code 1) if less than this percentage left by reference, or nothing was sent.
    #[arg(long, value_name = "PERCENT", value_parser = percentage)]
    pub(crate) min_by_reference: Option<f64>,

    /// Use no more than this tier: A (pages, by BPF) or C (counters of calls).
    #[arg(long, value_name = "TIER", default_value = "A", value_parser = tier)]
    pub(crate) tier: Tier,

    /// The most of a processor's time that watching may take; 100 to see everything.
    ///
    /// Watching costs the watched program some hundred nanoseconds a system call and about a
    /// microsecond a packet. If that would be more than this, explain looks only part of the time,
    /// keeps counting what leaves, and gives a range for the share. For tier A.
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0, value_parser = budget)]
    pub(crate) budget: f64,

    /// Print JSON, one object a line; the command's standard output then goes to standard error.
    #[arg(long)]
    pub(crate) json: bool,

    /// The command to run and watch.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

const USAGE: &str = "\
underpass explain [OPTIONS] <PID>
       underpass explain [OPTIONS] -- <COMMAND>...";

const HELP: &str = "\
Examples:
  underpass explain $(cat /run/nginx.pid)
      Watch nginx and its workers until Ctrl-C, then report.
  underpass explain 1234 --every 2 --for 60
      Print a line every two seconds for a minute, then the report.
  underpass explain --min-by-reference 95 -- ./load-test.sh
      Check: the exit code is 1 unless 95 % of the file bytes left by reference.

What it needs:
  Tier A sees pages and needs Linux 5.17 and root, or CAP_BPF and CAP_PERFMON. Without them, or if
  BPF is locked, tier C can watch only your own processes, by their counters. These say nothing
  about copies, so --min-by-reference then always fails.";

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .filter(|seconds| (0.1..=SECONDS_MAX).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "give seconds from 0.1 to 604800, such as 2 or 0.5".into())
}

/// The tier that may be used at most, for `explain` and `compare`.
pub(crate) fn tier(text: &str) -> Result<Tier, String> {
    match text {
        "A" | "a" => Ok(Tier::A),
        "B" | "b" => Err("tier B (tracepoints without BPF) was removed; give A or C".into()),
        "C" | "c" => Ok(Tier::C),
        _ => Err("give A (pages, by BPF) or C (counters of calls)".into()),
    }
}

fn percentage(text: &str) -> Result<f64, String> {
    let percentage: Option<f64> = text.parse().ok();
    percentage
        .filter(|percentage| (0.0..=100.0).contains(percentage))
        .ok_or_else(|| "give a percentage from 0 to 100, such as 95".into())
}

fn budget(text: &str) -> Result<f64, String> {
    let percentage: Option<f64> = text.parse().ok();
    percentage
        .filter(|percentage| (0.1..=100.0).contains(percentage))
        .ok_or_else(|| "give a percentage from 0.1 to 100, such as 2".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_have_a_fraction_and_are_neither_none_nor_endless() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("604800"), Ok(Duration::from_secs(604_800)));
        for text in ["0", "-1", "1e9", "NaN", "inf", "two", ""] {
            assert!(seconds(text).unwrap_err().starts_with("give seconds"), "{text}");
        }
    }

    #[test]
    fn a_tier_is_a_or_c_and_of_b_it_says_that_it_is_gone() {
        assert_eq!((tier("A"), tier("c")), (Ok(Tier::A), Ok(Tier::C)));
        assert!(tier("b").unwrap_err().contains("was removed; give A or C"));
        assert!(tier("D").unwrap_err().starts_with("give A"));
    }

    #[test]
    fn a_percentage_is_from_0_to_100() {
        assert_eq!((percentage("0"), percentage("99.5")), (Ok(0.0), Ok(99.5)));
        for text in ["100.1", "-1", "NaN", "95%"] {
            assert!(percentage(text).unwrap_err().starts_with("give a percentage"), "{text}");
        }
    }

    #[test]
    fn a_budget_of_nothing_is_refused() {
        assert_eq!((budget("0.1"), budget("100")), (Ok(0.1), Ok(100.0)));
        for text in ["0", "100.1", "-1", "NaN", "3%"] {
            assert!(budget(text).unwrap_err().starts_with("give a percentage"), "{text}");
        }
    }
}
