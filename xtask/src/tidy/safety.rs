//! Where unsafe code may be, and what each block must rest on.
//!
//! The compiler enforces `forbid(unsafe_code)`; this makes sure that every crate but
//! `underpass-sys` says so, or has at most one expected exception. Clippy wants a `SAFETY`
//! comment at each block; this wants a source in it.

use std::collections::BTreeMap;

use super::{Finding, SourceFile};

/// The crate that makes the unsafe kernel calls.
const UNSAFE_CRATE: &str = "crates/underpass-sys/";

const EXCEPTION: &str = "#[expect(unsafe_code";

/// In two parts, or clippy would take this line for such a comment.
const SAFETY: &str = concat!("// ", "SAFETY:");

/// Each `SAFETY` comment names what it rests on.
pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut lines = file.lines().peekable();
    while let Some((number, line)) = lines.next() {
        let Some(start) = line.trim_start().strip_prefix(SAFETY) else { continue };
        let mut comment = start.to_owned();
        while let Some((_, more)) = lines.next_if(|(_, line)| line.trim_start().starts_with("//")) {
            comment.push_str(more.trim_start().trim_start_matches('/'));
        }
        if !names_a_source(&comment) {
            let message = "SAFETY names no source: say which sentence of which page holds, as \
                           name(section), RFC, Documentation/, path::item, `item` with its \
                           sentence in quotes, or \"the caller promises\"";
            findings.push(file.finding(number, message));
        }
    }
    findings
}

fn names_a_source(comment: &str) -> bool {
    let is_page = comment.match_indices('(').any(|(at, _)| {
        let before = comment.get(..at).and_then(|text| text.chars().next_back());
        let mut after = comment.get(at + 1..).unwrap_or_default().chars();
        before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            && after.next().is_some_and(|c| c.is_ascii_digit())
            && after.find(|c| !c.is_ascii_lowercase()) == Some(')')
    });
    let others = ["RFC ", "Documentation/", "::", "the caller promises"];
    // An item of some crate with a sentence of its documentation: `BufMut`, "chunk_mut must …".
    let is_quoted = comment.contains("`, \"");
    is_page || is_quoted || others.iter().any(|source| comment.contains(source))
}

/// Each crate but one forbids unsafe code, or denies it and expects it once.
pub(super) fn check_crates(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut exceptions: BTreeMap<&str, usize> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        if package(&file.path) == UNSAFE_CRATE {
            continue;
        }
        let unit = unit(&file.path);
        for (number, line) in file.lines() {
            if line.trim_start().starts_with(EXCEPTION) {
                let count = exceptions.entry(unit).or_default();
                *count += 1;
                if *count > 1 {
                    let message = "a second expected unsafe_code here: move the call to \
                                   underpass-sys";
                    findings.push(file.finding(number, message));
                }
            }
        }
    }
    for root in files.iter().filter(|file| is_crate_root(&file.path)) {
        let is_forbidden = root.text.contains("#![forbid(unsafe_code)]");
        let has_exception = exceptions.contains_key(unit(&root.path));
        let is_denied = has_exception && root.text.contains("#![deny(unsafe_code)]");
        if !is_forbidden && !is_denied {
            findings.push(root.finding(1, "no #![forbid(unsafe_code)]: only underpass-sys calls"));
        }
    }
    findings
}

/// `crates/name/` or `xtask/`, of a file's path.
fn package(path: &str) -> &str {
    let depth = if path.starts_with("crates/") { 2 } else { 1 };
    path.match_indices('/').nth(depth - 1).and_then(|(at, _)| path.get(..=at)).unwrap_or("")
}

/// Where one exception may stand: in the library or program of a package (`crates/a/src`), or in
/// one file of tests or one example (the whole path), which often test a promise by making it.
fn unit(path: &str) -> &str {
    let inside = path.strip_prefix(package(path)).unwrap_or(path);
    match inside.split_once('/') {
        Some(("src", _)) => path.get(..package(path).len() + "src".len()).unwrap_or(path),
        Some(_) | None => path,
    }
}

/// Test binaries, benches and examples are separate crates and are left to clippy.
fn is_crate_root(path: &str) -> bool {
    let inside = path.strip_prefix(package(path)).unwrap_or_default();
    package(path) != UNSAFE_CRATE && matches!(inside, "src/lib.rs" | "src/main.rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safety_comment_must_name_its_source() {
        for good in [
            "mmap(2) gave it",
            "splice(3p):",
            "RFC 9110",
            "Documentation/x",
            "as\n// mmap(2)",
            "a::b",
            "`BufMut`, \"must uphold\"",
        ] {
            let text = format!("{SAFETY} {good}\nunsafe {{}}\n");
            assert_eq!(check(&SourceFile::of("a.rs", &text)), [], "{good}");
        }
        for bad in ["it is fine", "f(x) holds", "see (2)", "`a` is \"fine"] {
            let text = format!("    {SAFETY} {bad}\n// no source here either\nunsafe {{}}\n");
            assert_eq!(check(&SourceFile::of("a.rs", &text)).len(), 1, "{bad}");
        }
    }

    #[test]
    fn crates_forbid_unsafe_code_or_expect_it_once() {
        let found = |root: &str, other: &str| {
            check_crates(&[
                SourceFile::of("crates/a/src/lib.rs", root),
                SourceFile::of("crates/a/src/b.rs", other),
                SourceFile::of("crates/underpass-sys/src/lib.rs", ""),
            ])
            .len()
        };
        let once = format!("{EXCEPTION}, reason = \"r\")]\n");
        assert_eq!(found("#![forbid(unsafe_code)]", ""), 0);
        assert_eq!(found("", ""), 1);
        assert_eq!(found("#![deny(unsafe_code)]", ""), 1);
        assert_eq!(found("#![deny(unsafe_code)]", &once), 0);
        assert_eq!(found("#![deny(unsafe_code)]", &once.repeat(2)), 1);
        assert_eq!(unit("crates/a/src/b/c.rs"), "crates/a/src");
        assert_eq!(unit("crates/a/tests/it/b.rs"), "crates/a/tests/it/b.rs");
        assert_eq!(unit("crates/a/examples/b.rs"), "crates/a/examples/b.rs");
    }
}
