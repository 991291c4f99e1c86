//! A program that is watched by `underpass explain` while it is asked, and recorded by strace.

use rustix::process::Signal;
use serde_json::Value;
use underpass_testkit::recorded::{Recorded, until_idle};

use crate::hidden::tried;
use crate::programs::truth::{Body, Truth};
use crate::running::{Running, program};

/// What was said, and what was so.
pub(crate) struct Watched {
    pub(crate) summary: Value,
    pub(crate) truth: Truth,
}

impl Watched {
    /// Bytes that the watch saw leave.
    pub(crate) fn left(&self) -> u64 {
        let total = &self.summary["report"]["total"];
        ["by_reference_bytes", "copied_bytes", "unknown_bytes", "other_bytes"]
            .iter()
            .map(|part| total[part].as_u64().unwrap())
            .sum()
    }
}

/// Watches a process while it is asked. The same calls are in the record and in the answer: the
/// process is idle before and after.
pub(crate) fn watched(
    recorded: &Recorded,
    process: u32,
    mut ask: impl FnMut() -> Vec<Body>,
) -> Watched {
    let once = || {
        until_idle(process).unwrap();
        let before = recorded.calls().unwrap().len();
        let mut explain = program();
        explain.args(["explain", "--budget", "100", "--json", &process.to_string()]);
        let watch = Running::start(&mut explain);
        assert!(watch.line.ends_with("in tier A\n"), "{}", watch.line);
        let bodies = ask();
        until_idle(process).unwrap();
        watch.signal(Signal::INT);
        let (code, stdout, stderr) = watch.end_of_text();
        assert_eq!(code, Some(0), "{stderr}");
        let truth = Truth::of(&recorded.calls().unwrap()[before..], &bodies);
        Watched { summary: serde_json::from_str(&stdout).unwrap(), truth }
    };
    tried(once, |watched| watched.left() == watched.truth.left())
}
