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

/// Why an answer is wrong, by how much at most one of its lines is, and of what that is a number:
/// bytes or connections.
pub(crate) type Known = (&'static str, u64, &'static str);

struct Wrong {
    why: &'static str,
    within: u64,
    unit: &'static str,
    is_always: bool,
}

/// One line of an answer.
struct Line {
    name: &'static str,
    want: String,
    said: String,
    /// The bytes, or connections, that are told otherwise than they were.
    off: u64,
}

impl Line {
    /// A line of bytes by what they are of.
    fn of_bytes(name: &'static str, want: &Rows, said: &Rows) -> Self {
        let keys: BTreeSet<&String> = want.keys().chain(said.keys()).collect();
        let off = |key| {
            let bytes = |rows: &Rows, at| rows.get(key).map_or(0, |row: &Vec<u64>| row[at]);
            let row = want.get(key).or_else(|| said.get(key)).unwrap();
            let columns = (0..row.len()).map(|at| bytes(want, at).abs_diff(bytes(said, at)));
            // What is of no bytes is wrong if it is there or not.
            let is_in_one = want.contains_key(key) != said.contains_key(key);
            columns.max().unwrap_or(0).max(u64::from(is_in_one))
        };
        let off = keys.iter().map(|key| off(*key)).max().unwrap_or(0);
        Self { name, want: text(want), said: text(said), off }
    }

    /// A line of words: all is wrong or nothing.
    fn of_words(name: &'static str, want: String, said: String, is_right: bool) -> Self {
        Self { name, want, said, off: if is_right { 0 } else { u64::MAX } }
    }
}

/// Bytes by columns, by what they are of.
type Rows = BTreeMap<String, Vec<u64>>;

fn text(rows: &Rows) -> String {
    let rows = rows.iter().map(|(name, bytes)| format!("{name}: {bytes:?}"));
    rows.collect::<Vec<_>>().join("\n  ")
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

    /// Today the answer is wrong for this reason.
    pub(crate) fn wrong(self, known: Known) -> Self {
        self.known(known, true)
    }

    /// It is wrong at times: it depends on when the watch looks, or the program reads.
    pub(crate) fn wrong_at_times(self, known: Known) -> Self {
        self.known(known, false)
    }

    fn known(mut self, (why, within, unit): Known, is_always: bool) -> Self {
        self.known_wrong.push(Wrong { why, within, unit, is_always });
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
        lines.extend(self.fix(truth, report));
        let complaints = complaints(&lines, &self.known_wrong);
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
        Line::of_words("programs", self.names.into(), said, is_right)
    }

    /// The reasons with their bytes. One may be told with several fixes, each of them once.
    fn reasons(&self, truth: &Truth, report: &Value) -> Line {
        let (mut said, mut fixes) = (Rows::new(), BTreeSet::new());
        for finding in findings(report) {
            let reason = finding["reason"].as_str().unwrap();
            said.entry(reason.into()).or_insert_with(|| vec![0])[0] += bytes(&finding["bytes"]);
            assert!(fixes.insert((reason, finding["fix"].as_str())), "told twice: {finding}");
        }
        let want = self.reason.map(|(reason, _)| (reason.into(), vec![truth.reasoned()]));
        Line::of_bytes("reasons", &want.into_iter().collect(), &said)
    }

    /// A fix for other bytes than those of its reason is as wrong as if there were none.
    fn fix(&self, truth: &Truth, report: &Value) -> Option<Line> {
        let (reason, want) = self.reason?;
        let said: Vec<&str> = findings(report)
            .filter(|finding| finding["reason"] == reason)
            .map(|finding| finding["fix"].as_str().unwrap())
            .collect();
        let off = if said.iter().any(|said| said.contains(want)) { 0 } else { truth.reasoned() };
        Some(Line { name: "fix", want: want.into(), said: said.join("; "), off })
    }

    fn leave(&self, truth: &Truth) {
        let Some(dir) = std::env::var_os(OUTCOMES) else { return };
        let known = self.known_wrong.iter();
        let wrong: Vec<Value> = known
            .map(|wrong| json!([wrong.why, wrong.is_always, wrong.within, wrong.unit]))
            .collect();
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

/// What is to be said of lines: they are not as they should be, and not as they are known not to
/// be.
fn complaints(lines: &[Line], known: &[Wrong]) -> Vec<String> {
    let within = known.iter().map(|wrong| wrong.within).max().unwrap_or(0);
    let is_always = known.iter().any(|wrong| wrong.is_always);
    if is_always && lines.iter().all(|line| line.off == 0) {
        return vec!["right at last: strike what is known to be wrong".into()];
    }
    let wrong = lines.iter().filter(|line| line.off > within);
    let complaint = |Line { name, want, said, off }: &Line| {
        format!("{name}, off by {off} and not within {within}:\n  {said}\n  not\n  {want}")
    };
    wrong.map(complaint).collect()
}

fn findings(report: &Value) -> impl Iterator<Item = &Value> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.filter(|finding| finding["reason"] != "R11")
}

fn bytes(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

fn columns(row: &Value) -> Vec<u64> {
    ["by_reference_bytes", "copied_bytes", "unknown_bytes"].map(|name| bytes(&row[name])).into()
}

/// By reference, copied, unknown; and what is of no file.
fn total(truth: &Truth, report: &Value) -> Line {
    let row = &report["total"];
    let said = [columns(row), vec![bytes(&row["other_bytes"])]].concat();
    let (lent, copied) = (truth.by_reference(), truth.told());
    let want = vec![lent, copied, 0, truth.left() - lent - copied];
    let rows = |columns| Rows::from([("all".into(), columns)]);
    Line::of_bytes("total", &rows(want), &rows(said))
}

fn files(truth: &Truth, report: &Value) -> Line {
    let columns = |columns: Vec<u64>| if truth.is_transformed { Vec::new() } else { columns };
    let said = report["files"].as_array().unwrap().iter();
    let said = said.map(|row| (row["name"].as_str().unwrap().into(), columns(self::columns(row))));
    let want = truth.files.iter();
    let want =
        want.map(|(name, sent)| (name.clone(), columns(vec![sent.by_reference, sent.copied, 0])));
    Line::of_bytes("files", &want.collect(), &said.collect())
}

/// Files have names. What those are is said with their bytes.
fn names(report: &Value) -> Line {
    let rows = report["files"].as_array().unwrap().iter();
    let names = rows.map(|row| (row["name"].as_str().unwrap().into(), columns(row)));
    let without: Rows = names.filter(|(name, _): &(String, _)| !name.starts_with('/')).collect();
    Line::of_bytes("names", &Rows::new(), &without)
}

/// Connections by peers, which are all on this machine.
fn peers(truth: &Truth, report: &Value) -> Line {
    let rows = report["peers"].as_array().unwrap().iter();
    let said =
        rows.map(|row| (row["name"].as_str().unwrap().into(), vec![bytes(&row["connections"])]));
    let want = Rows::from([("127.0.0.1".into(), vec![truth.connections as u64])]);
    Line::of_bytes("peers", &want, &said.collect())
}

#[test]
fn a_line_that_is_known_to_be_wrong_fails_when_it_is_right_or_wrong_by_more() {
    let rows = |bytes| Rows::from([("a".into(), vec![bytes, 7])]);
    let fails = |said: u64, known: &[Wrong]| {
        let line = Line::of_bytes("files", &rows(100), &rows(said));
        !complaints(&[line], known).is_empty()
    };
    let known = |is_always| [Wrong { why: "", within: 20, unit: "bytes", is_always }];
    for (known, of) in [
        (&[][..], [false, true, true, true]),
        (&known(true), [true, false, false, true]),
        (&known(false), [false, false, false, true]),
    ] {
        assert_eq!([100, 101, 80, 79].map(|said| fails(said, known)), of);
    }
}

#[test]
fn a_row_too_many_or_too_few_is_off_by_its_bytes_and_words_by_all() {
    let (none, one) = (Rows::new(), Rows::from([("a".into(), vec![3, 9])]));
    let nameless = Rows::from([("a".into(), Vec::new())]);
    let off = |want, said| Line::of_bytes("files", want, said).off;
    assert_eq!((off(&none, &one), off(&one, &none), off(&one, &one)), (9, 9, 0));
    assert_eq!((off(&none, &nameless), off(&nameless, &nameless)), (1, 0));
    let words = |is_right| Line::of_words("peers", String::new(), String::new(), is_right).off;
    assert_eq!((words(true), words(false)), (0, u64::MAX));
}
