//! Names that say nothing: modules named after nothing, types named after their role.

use super::{Finding, SourceFile};

const MODULES: [&str; 9] =
    ["util", "utils", "common", "helper", "helpers", "misc", "types", "core", "prelude"];

const SUFFIXES: [&str; 8] = ["Manager", "Helper", "Handler", "Impl", "Info", "Data", "V2", "New"];

const TYPE_KEYWORDS: [&str; 5] = ["struct", "enum", "trait", "type", "union"];

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let path = file.path.strip_suffix(".rs").unwrap_or(&file.path);
    for part in path.split('/').filter(|part| MODULES.contains(part)) {
        let message = format!("a module named {part}: name it for the noun its items share");
        findings.push(file.finding(0, message));
    }
    for (number, line) in file.lines() {
        let Some(name) = declared_type(line) else { continue };
        // A name that is only the word itself is a noun like any other.
        let suffix = SUFFIXES.iter().find(|suffix| name != **suffix && name.ends_with(**suffix));
        if let Some(suffix) = suffix {
            let message = format!("{name} ends in {suffix}: name what it is, not what it is for");
            findings.push(file.finding(number, message));
        }
    }
    findings
}

/// The name that a line such as `pub(crate) struct Name<T> {` declares.
///
/// An indented `type` names what a trait asks for, and the trait may be somebody else's.
fn declared_type(line: &str) -> Option<&str> {
    if line.starts_with(' ') && line.trim_start().starts_with("type ") {
        return None;
    }
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    words.next().filter(|word| TYPE_KEYWORDS.contains(word))?;
    let name = words.next()?;
    name.split(|c: char| !c.is_alphanumeric()).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::of(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn modules_named_after_nothing_are_found() {
        for path in ["crates/a/src/util.rs", "crates/a/src/common/mod.rs"] {
            assert_eq!(messages(path, "").len(), 1, "{path}");
        }
        assert!(messages("crates/a/src/utility.rs", "").is_empty());
    }

    #[test]
    fn type_suffixes_are_found_and_the_bare_words_are_not() {
        let text = "pub(crate) struct PipeManager<T>(T);\nenum Data {}\ntype FileInfo = ();\n    \
                    type ConnectInfo = ();\n";
        let found = messages("a.rs", text);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("a.rs:1: PipeManager ends in Manager"), "{found:?}");
    }
}
