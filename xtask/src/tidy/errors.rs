//! No error prints its own source: the chain prints it, and the reader would get it twice.
//!
//! Source: thiserror's documentation, `#[source]`, `#[from]`, and a field named `source`; a format
//! string names a field as `{field}` or `{0}`, an argument after it as `.field` or `.0`.

use super::{Finding, SourceFile};

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    // In two parts, or this line would be such an error.
    for (at, start) in file.text.match_indices(concat!("#[", "error(")) {
        let rest = file.text.get(at + start.len()..).unwrap_or_default();
        let Some((message, item)) = within(rest, ')') else { continue };
        if let Some(field) = source(item).filter(|field| prints(message, field)) {
            let line = file.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            let text = format!("prints its source `{field}`, which the chain prints: leave it out");
            findings.push(file.finding(line, text));
        }
    }
    findings
}

/// What comes before the bracket that closes what is open, and what follows it.
fn within(text: &str, close: char) -> Option<(&str, &str)> {
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            _ if is_string => {}
            '(' | '[' | '{' | '<' => depth += 1,
            _ if depth == 0 && c == close => return Some((text.get(..at)?, text.get(at + 1..)?)),
            ')' | ']' | '}' | '>' => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    None
}

/// The name or number of the field that is the source of the variant or struct after an attribute.
fn source(item: &str) -> Option<String> {
    let mut item = item.trim_start_matches(']').trim_start();
    while let Some(attribute) = item.strip_prefix("#[") {
        item = within(attribute, ']')?.1.trim_start();
    }
    let open = item.find(['(', '{', ',', ';', '}'])?;
    let close = match item.get(open..=open)? {
        "(" => ')',
        "{" => '}',
        _ => return None,
    };
    let mut fields = within(item.get(open + 1..)?, close)?.0;
    for index in 0.. {
        let (field, others) = within(fields, ',').unwrap_or((fields, ""));
        let declared = field.lines().filter(|line| !line.trim_start().starts_with("//"));
        let declared = declared.collect::<Vec<_>>().join(" ");
        let name = declared
            .split_once(':')
            .filter(|_| close == '}')
            .map(|(before, _)| before.rsplit([' ', ']']).next().unwrap_or_default().to_owned());
        let is_marked = declared.contains("#[source]") || declared.contains("#[from]");
        if is_marked || name.as_deref() == Some("source") {
            return Some(name.unwrap_or_else(|| index.to_string()));
        }
        if others.trim().is_empty() {
            return None;
        }
        fields = others;
    }
    None
}

/// Whether the arguments of an `error` attribute print the field itself, and not a part of it.
fn prints(message: &str, field: &str) -> bool {
    let is_end = |rest: &str, ends: &[char]| rest.is_empty() || rest.starts_with(ends);
    let after = |what: &str, ends: &[char]| {
        message.match_indices(what).any(|(at, _)| {
            message.get(at + what.len()..).is_some_and(|rest| is_end(rest.trim_start(), ends))
        })
    };
    after(&format!("{{{field}"), &['}', ':']) || after(&format!(" .{field}"), &[',', ')'])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines where something is found, of an enum with one variant.
    fn lines(message: &str, variant: &str) -> Vec<usize> {
        let text = format!("enum E {{\n    #[{}{message})]\n    {variant},\n}}\n", "error(");
        check(&SourceFile::of("a.rs", &text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn an_error_that_prints_its_source_is_found() {
        for (message, variant) in [
            ("\"open: {0}\"", "Open(#[source] io::Error)"),
            ("\"open: {0:?}\"", "Open(#[from] io::Error)"),
            ("\"{1} (at {0})\"", "Open(PathBuf, #[source] Errno)"),
            ("\"{path}: {source}\"", "Open { path: PathBuf, source: io::Error }"),
            (
                "\"{path}: {errno}\"",
                "Open {\n /// Where, so.\n path: PathBuf,\n #[source]\n errno: Errno }",
            ),
            ("\"{}: {}\", path(.0), .1", "Open(Map<A, B>, #[source] Errno)"),
            ("\"a) {0}\"", "#[non_exhaustive]\n    Open(#[source] Errno)"),
        ] {
            assert_eq!(lines(message, variant), [2], "{message} {variant}");
        }
    }

    #[test]
    fn an_error_that_leaves_its_source_to_the_chain_is_not_found() {
        for (message, variant) in [
            ("transparent", "Open(#[from] io::Error)"),
            ("\"open {0}\"", "Open(PathBuf, #[source] io::Error)"),
            ("\"open {path}\"", "Open { path: PathBuf, source: io::Error }"),
            ("\"open: {}\", .0.kind()", "Open(#[source] io::Error)"),
            ("\"open: {0}\"", "Open(Errno), Close(#[source] Errno)"),
            ("\"none\"", "Open, Close(#[source] Errno)"),
            ("\"{0}\"", "Open(String)"),
        ] {
            assert_eq!(lines(message, variant), [0; 0], "{message} {variant}");
        }
    }
}
