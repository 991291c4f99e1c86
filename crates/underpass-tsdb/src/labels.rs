//! The labels of a series, in one piece of memory that is used again for the next.

use std::cmp::Ordering;
use std::fmt;

use crate::dump::quote;

/// Label names and values, sorted by name. Bytes, since nothing makes a writer keep to UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    text: Vec<u8>,
    /// Where each name ends, and the value behind it.
    ends: Vec<usize>,
}

impl Labels {
    /// Forgets them, and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// Adds a pair behind the others.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        self.push_text(name);
        self.push_text(value);
    }

    /// Adds a name, or the value of the name that was added last.
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.ends.push(self.text.len());
    }

    /// How many pairs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.ends.len() / 2
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        (0..self.len()).map(|pair| (self.part(2 * pair), self.part(2 * pair + 1)))
    }

    fn part(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[index]]
    }

    /// The value of a name; `None` if there is no such label.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// As a JSON object. What is not UTF-8 has U+FFFD instead.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = Vec::new();
        for (name, value) in self.iter() {
            text.push(if text.is_empty() { b'{' } else { b',' });
            quote::json(name, &mut text);
            text.push(b':');
            quote::json(value, &mut text);
        }
        text.extend(if text.is_empty() { &b"{}"[..] } else { b"}" });
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The metric's name: the value of `__name__`.
    #[must_use]
    pub fn metric(&self) -> &[u8] {
        self.get(b"__name__").unwrap_or_default()
    }
}

impl fmt::Display for Labels {
    /// As Prometheus writes them: `{__name__="up", job="a"}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        for (name, value) in self.iter() {
            text.extend(if text.is_empty() { &b"{"[..] } else { b", " });
            match quote::is_plain_label_name(name) {
                true => text.extend(name),
                false => quote::go(name, &mut text),
            }
            text.push(b'=');
            quote::go(value, &mut text);
        }
        text.extend(if text.is_empty() { &b"{}"[..] } else { b"}" });
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

impl Ord for Labels {
    /// As Prometheus orders series: pair by pair, names before values; of two that agree, the one
    /// with fewer pairs is first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let mut labels = Labels::default();
        pairs.iter().for_each(|(name, value)| labels.push(name.as_bytes(), value.as_bytes()));
        labels
    }

    #[test]
    fn pairs_are_found_and_ordered_as_prometheus_orders_them() {
        let up = labels(&[("__name__", "up"), ("job", "a")]);
        assert_eq!(
            (up.metric(), up.get(b"job"), up.get(b"x")),
            (&b"up"[..], Some(&b"a"[..]), None)
        );
        assert!(labels(&[("a", "2")]) < labels(&[("a", "2"), ("b", "1")]));
        assert!(
            labels(&[("a", "b")]) < labels(&[("ab", "")]),
            "names and values do not run together"
        );
        assert!(labels(&[("a", "1"), ("c", "1")]) < labels(&[("a", "2"), ("b", "1")]));
    }

    #[test]
    fn they_are_shown_as_prometheus_and_as_json_write_them() {
        let mut odd = labels(&[("__name__", "up"), ("a.b", "c\"d\n")]);
        odd.push(b"z", b"\xff");
        assert_eq!(odd.to_string(), r#"{__name__="up", "a.b"="c\"d\n", z="\xff"}"#);
        let json = concat!(r#"{"__name__":"up","a.b":"c\"d\n","z":""#, "\u{fffd}\"}");
        assert_eq!(odd.json(), json);
        assert_eq!(
            (Labels::default().to_string(), Labels::default().json()),
            ("{}".into(), "{}".into())
        );
    }
}
