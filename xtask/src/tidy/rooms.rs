//! Rules about the inside of crates: in which order their rooms are, how long the source may be
//! and how many things it may show.
//!
//! A room is a module of the crate's root with everything beneath it. It may use what is before
//! it in the order, so no two rooms are in a circle.

use std::collections::BTreeMap;

use super::{Finding, SourceFile};

/// A crate whose rooms are in an order, and its limits.
struct House {
    /// Its directory.
    source: &'static str,
    /// Its rooms, the ground first.
    rooms: &'static [&'static str],
    /// The most lines of source there may be, tests not counted.
    lines: usize,
    /// The most things users of the crate may see: functions, types, constants.
    public: usize,
}

const HOUSES: [House; 1] = [House {
    source: "crates/underpass-measure/src/",
    rooms: &[
        "figure",
        "chance",
        "terms",
        "words",
        "evidence",
        "call",
        "affinity",
        "proc",
        "cache",
        "usage",
        "namespace",
        "methods",
        "probe",
        "observe",
        "account",
        "eyes",
        "compare",
        "explain",
        "claims",
        "sheet",
        "page",
        "findings",
    ],
    lines: 14_790,
    public: 40,
}];

/// Applies the rules to each crate that has them.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    HOUSES.iter().flat_map(|house| house.check(files)).collect()
}

impl House {
    fn check(&self, files: &[SourceFile]) -> Vec<Finding> {
        let own: Vec<&SourceFile> =
            files.iter().filter(|file| file.path.starts_with(self.source)).collect();
        let mut findings: Vec<Finding> =
            own.iter().flat_map(|file| self.check_arrows(file)).collect();
        let whole = |message| Finding { path: self.source.to_owned(), line: 0, message };
        let lines: usize = own.iter().map(|file| source_lines(file)).sum();
        if lines > self.lines {
            findings.push(whole(format!(
                "{lines} lines of source, at most {}: delete what is said twice",
                self.lines
            )));
        }
        let public = public_items(&own, self.source, "lib");
        if public > self.public {
            findings.push(whole(format!(
                "{public} public items, at most {}: make one crate-private",
                self.public
            )));
        }
        findings
    }

    fn check_arrows(&self, file: &SourceFile) -> Vec<Finding> {
        let Some(room) = self.room_of(file).filter(|room| *room != "lib") else {
            return Vec::new();
        };
        let place = |room: &str| self.rooms.iter().position(|known| *known == room);
        let Some(own) = place(room) else {
            let message = format!("the room `{room}` has no place: give it one in HOUSES");
            return vec![file.finding(0, message)];
        };
        let mut findings = Vec::new();
        let text = source_of(file);
        let root = "super::".repeat(file.path[self.source.len()..].split('/').count());
        for (number, used) in rooms_used(text, "crate::").into_iter().chain(rooms_used(text, &root))
        {
            if place(used).is_some_and(|place| place > own) {
                let message = format!("`{room}` uses `{used}`, a room above it: move it down");
                findings.push(file.finding(number, message));
            }
        }
        findings
    }

    fn room_of<'a>(&self, file: &'a SourceFile) -> Option<&'a str> {
        let inside = file.path.strip_prefix(self.source)?;
        let first = inside.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }
}

/// A file's text without its test module.
fn source_of(file: &SourceFile) -> &str {
    if ["/tests.rs", "_tests.rs"].iter().any(|end| file.path.ends_with(end)) {
        return "";
    }
    let tests = ["\n#[cfg(test)]\nmod tests {", "\n#[cfg(test)]\npub(crate) mod tests {"];
    let ends = tests.iter().filter_map(|start| file.text.find(start));
    &file.text[..ends.min().unwrap_or(file.text.len())]
}

/// Lines of Rust and C, tests not counted.
fn source_lines(file: &SourceFile) -> usize {
    let is_code = [".rs", ".c", ".h"].iter().any(|end| file.path.ends_with(end));
    if is_code { source_of(file).lines().count() } else { 0 }
}

/// Rooms that a text names by a path to the crate's root, with the number of the line.
fn rooms_used<'a>(text: &'a str, root: &str) -> Vec<(usize, &'a str)> {
    let mut used = Vec::new();
    for (at, path) in text.match_indices(root) {
        let is_longer = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if is_longer {
            continue;
        }
        let line = text[..at].lines().count().max(1);
        let rest = &text[at + path.len()..];
        let names = rest.strip_prefix('{').map_or_else(|| vec![rest], listed);
        used.extend(names.into_iter().map(|name| (line, first_word(name))));
    }
    used
}

/// The paths of a list in braces, at its first level.
fn listed(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut paths) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match (c, depth) {
            ('}', 0) => {
                paths.push(text[start..at].trim());
                break;
            }
            (',', 0) => {
                paths.push(text[start..at].trim());
                start = at + 1;
            }
            ('{', _) => depth += 1,
            ('}', _) => depth -= 1,
            _ => {}
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// What users see of a module: its public items and those of its public modules.
fn public_items(files: &[&SourceFile], source: &str, module: &str) -> usize {
    let Some(file) = files.iter().find(|file| file.path == format!("{source}{module}.rs")) else {
        return 0;
    };
    let beneath = if module == "lib" { String::new() } else { format!("{module}/") };
    let mut count = 0;
    let text = source_of(file);
    for (at, _) in text.match_indices("\npub ") {
        let rest = text[at + "\npub ".len()..].trim_start_matches("const ");
        count += match first_word(rest) {
            "mod" => {
                let name = first_word(rest["mod ".len()..].trim_start());
                public_items(files, source, &format!("{beneath}{name}"))
            }
            "use" => match rest.split(';').next().and_then(|path| path.split_once('{')) {
                Some((_, list)) => listed(&format!("{list};")).len(),
                None => 1,
            },
            _ => 1,
        };
    }
    count
}

/// Lines of source of each crate, tests not counted, as a table.
pub(super) fn sizes(files: &[SourceFile]) -> String {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files {
        let Some((package, _)) = file.path.split_once("/src/") else { continue };
        *sizes.entry(package).or_default() += source_lines(file);
    }
    let row = |(package, lines): (&&str, &usize)| format!("{lines:>7} {package}\n");
    sizes.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUSE: House = House { source: "a/src/", rooms: &["low", "high"], lines: 6, public: 3 };

    fn found(path: &str, text: &str) -> Vec<String> {
        let files = [SourceFile::of(path, text)];
        HOUSE.check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_room_uses_those_before_it_only() {
        assert_eq!(found("a/src/high.rs", "use crate::low::A;\n"), [""; 0]);
        assert_eq!(found("a/src/low/deep.rs", "use crate::{low::{x, y}, low::A};\n"), [""; 0]);
        let up = "a/src/low/deep.rs:2: `low` uses `high`, a room above it: move it down";
        assert_eq!(found("a/src/low/deep.rs", "//\nuse crate::high::A;\n"), [up]);
        assert_eq!(found("a/src/low/deep.rs", "//\nuse crate::{low::{x}, high::A};\n"), [up]);
        assert_eq!(found("a/src/low/deep.rs", "//\nuse super::super::high::A;\n"), [up]);
        assert_eq!(found("a/src/low/deep.rs", "//\nuse super::high::A;\n"), [""; 0]);
        assert_eq!(found("a/src/new.rs", "").len(), 1);
        assert_eq!(found("b/src/new.rs", "use crate::high;"), [""; 0]);
        assert_eq!(
            found("a/src/low.rs", "//\n#[cfg(test)]\nmod tests {\nuse crate::high;"),
            [""; 0]
        );
    }

    #[test]
    fn lines_count_without_tests() {
        let tests = "\n#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(found("a/src/low.rs", &format!("{}{tests}", "//\n".repeat(5))), [""; 0]);
        let shared = tests.replace("mod", "pub(crate) mod");
        assert_eq!(found("a/src/low.rs", &format!("{}{shared}", "//\n".repeat(5))), [""; 0]);
        assert_eq!(found("a/src/low.rs", &"//\n".repeat(6)), [""; 0]);
        let message = "a/src/:0: 7 lines of source, at most 6: delete what is said twice";
        assert_eq!(found("a/src/low.rs", &"//\n".repeat(7)), [message]);
        assert_eq!(found("a/src/low/tests.rs", &"//\n".repeat(9)), [""; 0]);
        assert_eq!(found("a/src/low/other_tests.rs", &"//\n".repeat(9)), [""; 0]);
        let files = [SourceFile::of("a/src/low.rs", "//\n//\n"), SourceFile::of("a/b.rs", "//\n")];
        assert_eq!(sizes(&files), "      2 a\n");
    }

    #[test]
    fn what_users_see_is_counted_through_public_modules_and_lists() {
        let count = |lib: &str| {
            let files = [
                SourceFile::of("a/src/lib.rs", lib),
                SourceFile::of(
                    "a/src/low.rs",
                    "//\npub const fn a() {\npub mod deep;\nfn c() {}\n",
                ),
                SourceFile::of("a/src/low/deep.rs", "//\npub struct B;\npub(crate) struct C;\n"),
            ];
            public_items(&files.each_ref(), "a/src/", "lib")
        };
        assert_eq!(count("//\nmod low;\n"), 0);
        assert_eq!(count("//\npub mod low;\n"), 2);
        assert_eq!(
            count("//\nmod low;\npub use low::{\n    a,\n    deep::{B},\n};\npub use x::y;\n"),
            3
        );
    }
}
