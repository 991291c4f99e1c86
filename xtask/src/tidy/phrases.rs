//! Phrases that comments, documents and messages do without: the list is `phrases.txt`.
//!
//! A phrase that is right in some places gets excuses in the list; what must be written as it is,
//! such as the name of an account, goes between backticks.

use std::sync::LazyLock;

use super::prose::{self, Word};
use super::{Finding, SourceFile};

static PHRASES: LazyLock<Vec<Phrase>> =
    LazyLock::new(|| include_str!("phrases.txt").lines().filter_map(Phrase::parse).collect());

struct Phrase {
    /// The words that fit at each place.
    words: Vec<Vec<&'static str>>,
    unless_before: Vec<&'static str>,
    unless_after: Vec<&'static str>,
    instead: &'static str,
}

impl Phrase {
    fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split('|').map(str::trim);
        let words = fields.next().filter(|words| !words.is_empty() && !words.starts_with('#'))?;
        let words = words.split(' ').map(|word| word.split('/').collect()).collect();
        let mut excuses = || fields.next().map(|words| words.split(' ').collect());
        let (unless_before, unless_after) = (excuses()?, excuses()?);
        Some(Self { words, unless_before, unless_after, instead: fields.next()? })
    }

    /// Whether the phrase is at the start of `words`, after `before`.
    fn is_at(&self, before: Option<&Word>, words: &[Word]) -> bool {
        let Some(here) = words.get(..self.words.len()) else { return false };
        let Some((last, others)) = here.split_last() else { return false };
        let fits = |(word, place): (&Word, &Vec<&str>)| {
            place.contains(&word.text.as_str()) || place == &["*"]
        };
        if !here.iter().zip(&self.words).all(fits) || others.iter().any(|word| word.is_last) {
            return false;
        }
        let is = |excuses: &[&str], word: Option<&Word>| {
            word.is_some_and(|word| excuses.contains(&word.text.as_str()))
        };
        let before = before.filter(|word| !word.is_last);
        let open = self.words.last().is_some_and(|place| place == &["*"]);
        let after = if open { Some(last) } else { words.get(here.len()).filter(|_| !last.is_last) };
        !is(&self.unless_before, before) && !is(&self.unless_after, after)
    }
}

pub(super) fn check(file: &SourceFile) -> Vec<Finding> {
    let words = prose::words(file);
    let mut findings = Vec::new();
    for at in 0..words.len() {
        let (before, here) = words.split_at(at);
        for phrase in PHRASES.iter().filter(|phrase| phrase.is_at(before.last(), here)) {
            let found: Vec<_> = here.iter().zip(&phrase.words).map(|(w, _)| &*w.text).collect();
            let message = format!("\"{}\": {}", found.join(" "), phrase.instead);
            findings.extend(here.first().map(|word| file.finding(word.line, message)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let findings = check(&SourceFile::of("a.md", text));
        findings.iter().map(|f| format!("{} {}", f.line, f.message)).collect()
    }

    /// What the phrase says with the first of the words at each place.
    fn example(phrase: &Phrase) -> String {
        let words = phrase.words.iter().filter_map(|place| place.first());
        words.map(|word| word.replace('*', "thing")).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_phrase_of_the_list_is_found_and_its_excuses_are_heard() {
        assert!(PHRASES.len() > 30, "the list was not read");
        for phrase in PHRASES.iter() {
            let text = example(phrase);
            let suggestion = format!("1 \"{text}\": {}", phrase.instead);
            assert!(!phrase.instead.is_empty() && found(&text).contains(&suggestion), "{text}");
            for word in phrase.unless_before.iter().filter(|word| !word.is_empty()) {
                assert!(!found(&format!("{word} {text}")).contains(&suggestion), "{word} {text}");
            }
        }
    }

    #[test]
    fn phrases_run_over_lines_and_not_over_punctuation() {
        let end = "none";
        assert_eq!(found(&format!("It is\n{end}.")).len(), 1);
        assert_eq!(found(&format!("There is\n{end}.")).len(), 0);
        assert_eq!(found(&format!("That it is, {end} knew.")).len(), 0);
        assert_eq!(found(&format!("It is {end} of these.")).len(), 0);
        assert_eq!(found("It is no better, and there is no file.").len(), 0);
        assert_eq!(found(concat!("It is", " no file.")).len(), 1);
        assert_eq!(found("A robustness of `simply` what todos say.").len(), 0);
    }
}
