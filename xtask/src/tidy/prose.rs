//! The prose of a file: comments and strings of Rust, the text of Markdown, word by word.
//!
//! A phrase runs over line ends but not over punctuation, so each word says whether something
//! separates it from the next one. Code is not prose: spans in backticks, fenced blocks,
//! placeholders of format strings, and strings without a space in them.

use super::SourceFile;

/// One word, in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub line: usize,
    pub text: String,
    /// Punctuation or the end of a paragraph follows.
    pub is_last: bool,
}

/// The words of a file's prose, in order; none if the file is neither Rust nor Markdown.
pub(super) fn words(file: &SourceFile) -> Vec<Word> {
    let mut prose = Prose::default();
    if file.is_rust() {
        Rust { rest: &file.text, line: 1 }.read(&mut prose);
    } else if file.path.ends_with(".md") {
        for (number, line) in file.lines() {
            prose.line(number, line);
        }
    }
    prose.end();
    prose.words
}

#[derive(Default)]
struct Prose {
    words: Vec<Word>,
    is_fenced: bool,
    /// Inside a span in backticks, which may run over a line end.
    is_code: bool,
}

impl Prose {
    /// Adds one line of a comment or of Markdown.
    fn line(&mut self, number: usize, line: &str) {
        let line = line.trim();
        if line.starts_with("```") {
            self.is_fenced = !self.is_fenced;
            self.end();
        } else if line.is_empty() {
            self.end();
        } else if !self.is_fenced {
            self.text(number, line);
        }
    }

    /// Ends the paragraph.
    fn end(&mut self) {
        self.is_code = false;
        self.separate();
    }

    fn separate(&mut self) {
        if let Some(word) = self.words.last_mut() {
            word.is_last = true;
        }
    }

    fn text(&mut self, line: usize, text: &str) {
        let mut word = String::new();
        for c in text.chars().chain([' ']) {
            if c == '`' {
                self.is_code = !self.is_code;
            }
            let is_part = c.is_alphanumeric() || matches!(c, '\'' | '_' | '-' | '`' | '{' | '}');
            if !self.is_code && is_part {
                word.extend(c.to_lowercase());
            } else if !word.is_empty() && !self.is_code {
                let text = std::mem::take(&mut word);
                self.words.push(Word { line, text, is_last: false });
            }
            if !self.is_code && !is_part && !matches!(c, ' ' | '*') {
                self.separate();
            }
        }
    }
}

/// What is left to read of a Rust file.
struct Rust<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Rust<'a> {
    fn read(mut self, prose: &mut Prose) {
        while let Some(c) = self.rest.chars().next() {
            if let Some(comment) = self.rest.strip_prefix("//") {
                let text = comment.split('\n').next().unwrap_or_default();
                prose.line(self.line, text.trim_start_matches(['/', '!']));
                self.skip(2 + text.len());
                continue;
            }
            if !c.is_whitespace() {
                prose.is_fenced = false;
                prose.end();
            }
            match c {
                '"' => self.string(prose, 1, "\""),
                'r' if self.hashes().is_some() => {
                    let hashes = self.hashes().unwrap_or_default();
                    let end = format!("\"{}", "#".repeat(hashes));
                    self.string(prose, hashes + 2, &end);
                }
                '\'' => self.skip_character(),
                'a'..='z' | 'A'..='Z' | '_' => self.skip_name(),
                _ => _ = self.skip(c.len_utf8()),
            }
        }
    }

    /// Passes over this many bytes.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (before, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        self.line += before.matches('\n').count();
        self.rest = rest;
        before
    }

    /// A name, whose last letter might otherwise be taken for the start of a raw string.
    fn skip_name(&mut self) {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.skip(self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len()));
    }

    /// How many `#` a raw string that starts here has.
    fn hashes(&self) -> Option<usize> {
        let after = self.rest.strip_prefix('r')?;
        let quoted = after.trim_start_matches('#');
        quoted.starts_with('"').then(|| after.len() - quoted.len())
    }

    /// A character or a lifetime.
    fn skip_character(&mut self) {
        let mut chars = self.rest.chars().skip(1);
        let length = match (chars.next(), chars.next()) {
            (Some('\\'), Some(c)) => {
                let start = 2 + c.len_utf8();
                start + self.rest.get(start..).and_then(|rest| rest.find('\'')).unwrap_or(0) + 1
            }
            (Some(c), Some('\'')) => 2 + c.len_utf8(),
            _ => 1,
        };
        self.skip(length);
    }

    fn string(&mut self, prose: &mut Prose, start: usize, end: &str) {
        self.skip(start);
        let is_raw = start > 1;
        let mut at = 0;
        let length = loop {
            let rest = self.rest.get(at..).unwrap_or_default();
            if rest.is_empty() || rest.starts_with(end) {
                break at;
            }
            let escape = usize::from(!is_raw && rest.starts_with('\\'));
            at += escape + rest.chars().nth(escape).map_or(1, char::len_utf8);
        };
        let first = self.line;
        let text = self.skip(length);
        self.skip(end.len());
        if text.contains(' ') {
            // A line that ends in `\` continues; an escaped line end ends it.
            let text = text.replace("\\n", ". ").replace("\\\n", "\n").replace("\\\"", "\"");
            for (i, line) in text.split('\n').enumerate() {
                prose.text(first + i, line);
            }
        }
        prose.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words, with `|` where something separates them.
    fn read(path: &str, text: &str) -> String {
        let words = words(&SourceFile::of(path, text));
        let text = |word: &Word| format!("{}{}", word.text, if word.is_last { "|" } else { "" });
        words.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_are_joined_over_lines_and_separated_by_code_and_punctuation() {
        let text = "//! One, two\n//! three.\n//!\n//! Four\nfn five() {} // six\n  /// seven\n";
        assert_eq!(read("a.rs", text), "one| two three| four| six seven|");
    }

    #[test]
    fn strings_are_prose_if_they_have_a_space() {
        let text = "let a = \"one word\"; b(\"word\", 'c', '\"', '\\'', &'a x, r#\"raw \"it\"#);\n\
                    let c = \"runs \\\n  on \\\"so\\\" \\\\\"; d";
        assert_eq!(read("a.rs", text), "one word| raw| it| runs on| so|");
    }

    #[test]
    fn code_is_not_prose() {
        let text = "/// Of `a b` it `c\n/// d` e\n/// ```\n/// let f = 1;\n/// ```\n/// g {h}\n";
        assert_eq!(read("a.rs", text), "of ` it ` e| g {h}|");
        assert_eq!(read("a.md", "One\ntwo\n```sh\nthree\n```\n"), "one two|");
        assert_eq!(read("a.toml", "# One\n"), "");
    }

    #[test]
    fn words_know_their_lines() {
        let text = "// a\nlet b = \"c \\\n  d\nr\";\n/// e\n";
        let words = words(&SourceFile::of("a.rs", text));
        let lines: Vec<_> = words.iter().map(|word| (word.text.as_str(), word.line)).collect();
        assert_eq!(lines, [("a", 1), ("c", 2), ("d", 3), ("r", 4), ("e", 5)]);
    }
}
