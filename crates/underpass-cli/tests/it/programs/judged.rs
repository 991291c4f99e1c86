//! The lines of an answer, each held against what was so, and against the list of those that are
//! known to be wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::programs::truth::Truth;
use crate::programs::watched::Watched;

/// Names a directory that takes the outcome of each program, for the page that shows them.
const OUTCOMES: &str = "UNDERPASS_PROGRAMS";

/// A program, what is to be said of it, and what is wrong of that today.
pub(crate) struct Expected {
    program: &'static str,
    setup: &'static str,
    /// How the names of its processes begin, in the answer.
    names: &'static str,
    /// The reason for all that is copied, and a part of its fix; none if nothing is to be told.
    reason: Option<(&'static str, &'static str)>,
    known_wrong: Vec<Wrong>,
}

/// Why lines are wrong, and of each its name and a part of what it says.
pub(crate) type Known = (&'static str, &'static [(&'static str, &'static str)]);

pub(crate) const SMALL_FILES: Known = (
    "a small file that it reads for itself between requests counts as sent",
    &[("total", "copied"), ("files", ""), ("reasons", "R1")],
);
struct Wrong {
    why: &'static str,
    line: &'static str,
    part: &'static str,
    is_always: bool,
}

/// One line of an answer.
struct Line {
    name: &'static str,
    is_right: bool,
    want: String,
    said: String,
}

impl Line {
    fn same(name: &'static str, want: String, said: String) -> Self {
        Self { name, is_right: want == said, want, said }
    }
}

impl Expected {
    /// The program and how it is set up, as the page names them. Its processes are named for it.
    pub(crate) fn of(program: &'static str, setup: &'static str) -> Self {
        Self { program, setup, names: program, reason: None, known_wrong: Vec::new() }
    }

    /// Its processes have another name than the page has.
    pub(crate) fn named(mut self, names: &'static str) -> Self {
        self.names = names;
        self
    }

    /// What is copied is copied for this reason, and this is part of what to change.
    pub(crate) fn because(mut self, reason: &'static str, fix: &'static str) -> Self {
        self.reason = Some((reason, fix));
        self
    }

    /// Today these lines are wrong for this reason.
    pub(crate) fn wrong(self, known: Known) -> Self {
        self.known(known, true)
    }

    /// These lines are wrong at times: it depends on when the watch looks, or the program reads.
    pub(crate) fn wrong_at_times(self, known: Known) -> Self {
        self.known(known, false)
    }

    fn known(mut self, (why, lines): Known, is_always: bool) -> Self {
        let wrongs = lines.iter().map(|&(line, part)| Wrong { why, line, part, is_always });
        self.known_wrong.extend(wrongs);
        self
    }

    /// Judges an answer, and leaves the outcome for the page.
    pub(crate) fn judge(&self, watched: &Watched) {
        let (truth, report) = (&watched.truth, &watched.summary["report"]);
        assert_eq!(report["lost_events"], 0);
        let mut lines = vec![total(truth, report), files(truth, report), peers(truth, report)];
        lines.push(names(report));
        lines.push(self.programs(report));
        lines.push(self.reasons(truth, report));
        lines.extend(self.fix(report));
        let complaints: Vec<String> =
            lines.iter().filter_map(|line| complaint(line, &self.known_wrong)).collect();
        let (program, setup) = (self.program, self.setup);
        let all =
            lines.iter().map(|line| format!("{}: {}\n  for {}", line.name, line.said, line.want));
        let text = all.collect::<Vec<_>>().join("\n") + "\n" + &report.to_string();
        assert!(complaints.is_empty(), "{program}, {setup}:\n{}\n{text}", complaints.join("\n"));
        self.leave(truth);
    }

    /// The names of the programs whose processes sent something.
    fn programs(&self, report: &Value) -> Line {
        let processes = report["processes"].as_array().unwrap().iter();
        let names = processes.map(|row| row["name"].as_str().unwrap());
        let said: BTreeSet<&str> =
            names.map(|name| name.rsplit_once(' ').map_or(name, |(name, _)| name)).collect();
        let is_right = said.len() == 1 && said.iter().all(|said| said.starts_with(self.names));
        let said = said.into_iter().collect::<Vec<_>>().join(", ");
        Line { name: "programs", is_right, want: self.names.into(), said }
    }

    /// The reasons with their bytes. One may be told with several fixes, each of them once.
    fn reasons(&self, truth: &Truth, report: &Value) -> Line {
        let (mut bytes, mut fixes) = (BTreeMap::new(), BTreeSet::new());
        for finding in findings(report) {
            let reason = finding["reason"].as_str().unwrap();
            *bytes.entry(reason).or_insert(0) += finding["bytes"].as_u64().unwrap();
            assert!(fixes.insert((reason, finding["fix"].as_str())), "told twice: {finding}");
        }
        let said: Vec<String> =
            bytes.into_iter().map(|(reason, bytes)| format!("{reason} of {bytes}")).collect();
        let want = self.reason.map(|(reason, _)| format!("{reason} of {}", truth.reasoned()));
        Line::same("reasons", want.unwrap_or_default(), said.join(", "))
    }

    fn fix(&self, report: &Value) -> Option<Line> {
        let (reason, want) = self.reason?;
        let said: Vec<&str> = findings(report)
            .filter(|finding| finding["reason"] == reason)
            .map(|finding| finding["fix"].as_str().unwrap())
            .collect();
        let is_right = said.iter().any(|said| said.contains(want));
        Some(Line { name: "fix", is_right, want: want.into(), said: said.join("; ") })
    }

    fn leave(&self, truth: &Truth) {
        let Some(dir) = std::env::var_os(OUTCOMES) else { return };
        let wrong: BTreeSet<(&str, bool)> =
            self.known_wrong.iter().map(|wrong| (wrong.why, wrong.is_always)).collect();
        let outcome = json!({
            "program": self.program,
            "setup": self.setup,
            "by_reference_bytes": truth.by_reference(),
            "copied_bytes": truth.told(),
            "reason": self.reason.map(|(reason, _)| reason),
            "wrong": wrong,
        });
        let name = format!("{}, {}.json", self.program, self.setup).replace('/', " ");
        std::fs::write(Path::new(&dir).join(name), outcome.to_string()).unwrap();
    }
}

/// What is to be said of a line, if anything: it is not as it should be, or not as it is known
/// not to be.
fn complaint(line: &Line, known: &[Wrong]) -> Option<String> {
    let Line { name, is_right, want, said } = line;
    let known: Vec<&Wrong> = known.iter().filter(|wrong| wrong.line == *name).collect();
    let parts: Vec<&str> = known.iter().map(|wrong| wrong.part).collect();
    match is_right {
        true if known.iter().any(|wrong| wrong.is_always) => {
            Some(format!("{name}: right at last, strike it from what is known to be wrong: {said}"))
        }
        true => None,
        false if parts.iter().any(|part| said.contains(part)) => None,
        false if parts.is_empty() => Some(format!("{name}: {said}\n  not {want}")),
        false => Some(format!("{name}: wrong, but not by {parts:?}: {said}\n  not {want}")),
    }
}

fn findings(report: &Value) -> impl Iterator<Item = &Value> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["reason"] != "R11")
}

fn bytes(row: &Value) -> String {
    let part = |name: &str| &row[name];
    let [lent, copied] = [part("by_reference_bytes"), part("copied_bytes")];
    format!("{lent} by reference, {copied} copied, {} unknown", part("unknown_bytes"))
}

fn total(truth: &Truth, report: &Value) -> Line {
    let row = &report["total"];
    let said = format!("{}, {} other", bytes(row), row["other_bytes"]);
    let (lent, copied) = (truth.by_reference(), truth.told());
    let other = truth.left() - lent - copied;
    let want = format!("{lent} by reference, {copied} copied, 0 unknown, {other} other");
    Line::same("total", want, said)
}

fn files(truth: &Truth, report: &Value) -> Line {
    let rows = report["files"].as_array().unwrap().iter();
    let said = rows.map(|row| {
        let name = row["name"].as_str().unwrap();
        if truth.is_transformed { name.into() } else { format!("{name}: {}", bytes(row)) }
    });
    let want = truth.files.iter().map(|(name, sent)| {
        let (lent, copied) = (sent.by_reference, sent.copied);
        let bytes = format!("{lent} by reference, {copied} copied, 0 unknown");
        if truth.is_transformed { name.clone() } else { format!("{name}: {bytes}") }
    });
    let (said, want) = (said.collect(), want.collect());
    let lines = |set: BTreeSet<String>| set.into_iter().collect::<Vec<_>>().join("\n  ");
    Line::same("files", lines(want), lines(said))
}

/// Files have names. What those are is said with their bytes.
fn names(report: &Value) -> Line {
    let rows = report["files"].as_array().unwrap().iter();
    let names = rows.map(|row| row["name"].as_str().unwrap());
    let without: Vec<&str> = names.filter(|name| !name.starts_with('/')).collect();
    Line::same("names", String::new(), without.join(", "))
}

/// All peers are on this machine.
fn peers(truth: &Truth, report: &Value) -> Line {
    let rows = report["peers"].as_array().unwrap().iter();
    let said: Vec<String> = rows
        .map(|row| {
            let name = row["name"].as_str().unwrap();
            format!("{name} on {} connections", row["connections"])
        })
        .collect();
    Line::same("peers", format!("127.0.0.1 on {} connections", truth.connections), said.join(", "))
}

#[test]
fn a_line_that_is_known_to_be_wrong_fails_when_it_is_right_or_wrong_otherwise() {
    let line = |said: &str| Line::same("files", "a".into(), said.into());
    let fails = |said: &str, known: &[Wrong]| complaint(&line(said), known).is_some();
    let known = |is_always| [Wrong { why: "", line: "files", part: "inode", is_always }];
    for (known, of) in [
        (&[][..], [false, true, true]),
        (&known(true), [true, false, true]),
        (&known(false), [false, false, true]),
    ] {
        assert_eq!(["a", "inode 7", "b"].map(|said| fails(said, known)), of);
    }
}
