//! Rules about lines, whatever they mean: lengths, heads, paths of somebody's machine.

use super::{Finding, SourceFile};

/// A file answers one question; most need fewer than 400 lines.
const FILE_LINES_MAX: usize = 800;

/// Tables of cases are long.
const TEST_FILE_LINES_MAX: usize = 1200;

/// rustfmt keeps code within it, but not comments and strings.
const LINE_CHARS_MAX: usize = 100;

/// Directories that exist on one machine only.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/", "work/"), concat!("/", "home/"), concat!("/", "root/"), concat!("/", "Users/")];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.is_rust() {
        length(file, &mut findings);
        head(file, &mut findings);
        sleeps(file, &mut findings);
    }
    machine_paths(file, &mut findings);
    findings
}

fn length(file: &SourceFile, findings: &mut Vec<Finding>) {
    let max = if file.path.contains("/tests/") { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    let count = file.text.lines().count();
    if count > max {
        let message = format!("{count} lines, at most {max}: split it by what its parts are about");
        findings.push(file.finding(0, message));
    }
    // Generated code is as wide as its generator makes it.
    let lines = file.lines().filter(|_| !file.path.contains("/generated/"));
    for (number, line) in lines {
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            let message = format!("{chars} columns, at most {LINE_CHARS_MAX}: break the line");
            findings.push(file.finding(number, message));
        }
    }
}

fn head(file: &SourceFile, findings: &mut Vec<Finding>) {
    // The tests of a module are under that module's head.
    if !file.text.starts_with("//!") && !file.path.ends_with("/tests.rs") {
        let message = "no `//!` head: say in one sentence what the module is, then its trap";
        findings.push(file.finding(1, message));
    }
}

fn sleeps(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (number, line) in file.lines() {
        if line.contains(concat!("thread", "::sleep(")) {
            let message = "sleeps: wait for a condition (underpass_testkit::wait::until)";
            findings.push(file.finding(number, message));
        }
        if line.trim_start().starts_with(concat!("#[", "ignore")) {
            let message = "an ignored test reads as passed: require! what it needs, or delete it";
            findings.push(file.finding(number, message));
        }
    }
}

fn machine_paths(file: &SourceFile, findings: &mut Vec<Finding>) {
    for (number, line) in file.lines() {
        for path in MACHINE_PATHS {
            let starts_a_path = line.match_indices(path).any(|(at, _)| {
                let before = line.get(..at).and_then(|text| text.chars().next_back());
                !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}'))
            });
            if starts_a_path {
                let message = format!("{path} exists on one machine: use a relative path");
                findings.push(file.finding(number, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::of(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_files_and_long_lines_are_found_and_tests_may_be_longer() {
        let long = format!("//! Head.\n{}", "\n".repeat(800));
        assert_eq!(
            messages("crates/a/src/b.rs", &long),
            ["crates/a/src/b.rs:0: 801 lines, at most 800: split it by what its parts are about"]
        );
        assert!(messages("crates/a/tests/it/b.rs", &long).is_empty());
        let wide = format!("//! {}\n//! {}", "é".repeat(96), "é".repeat(97));
        assert_eq!(messages("b.rs", &wide), ["b.rs:2: 101 columns, at most 100: break the line"]);
        assert!(messages("a/generated/b.rs", &wide).is_empty());
    }

    #[test]
    fn a_module_without_a_head_is_found() {
        assert_eq!(messages("b.rs", "use std::io;\n").len(), 1);
        assert!(messages("b.rs", "//! What it is.\n").is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_found_where_a_path_starts() {
        let text = format!("see {}me/x\n", concat!("/", "home/"));
        assert_eq!(messages("a.md", &text).len(), 1);
        assert!(messages("a.md", "https://a.example/home/x and ../home/x\n").is_empty());
    }

    #[test]
    fn sleeping_and_ignored_tests_are_found() {
        let text = ["//! Head.", concat!("std::thread", "::sleep(a)"), concat!("#[", "ignore]")];
        assert_eq!(messages("b.rs", &text.join("\n")).len(), 2);
    }
}
