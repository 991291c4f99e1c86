//! External labels: those that a Prometheus has in its configuration and in none of its series.
//!
//! A client that has them asks for them, and takes only series that have them. So they are added to
//! each series that has no such label, and matchers of them are applied to what comes of that.
//!
//! Source: prometheus.io, "Configuration", `external_labels`; prometheus/storage/remote/read.go
//! `externalLabelsQuerier`.

use std::str::FromStr;

use crate::labels::Labels;
use crate::matcher::Matcher;

/// A label that is added to every series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExternalLabel {
    name: String,
    value: String,
}

/// Why a text is not an external label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("give NAME=VALUE, such as cluster=old")]
pub struct ExternalLabelError;

impl FromStr for ExternalLabel {
    type Err = ExternalLabelError;

    fn from_str(text: &str) -> Result<Self, ExternalLabelError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self { name: name.into(), value: value.into() })
            }
            Some(_) | None => Err(ExternalLabelError),
        }
    }
}

/// All of them, by name.
#[derive(Debug, Default)]
pub(super) struct ExternalLabels(Vec<ExternalLabel>);

impl ExternalLabels {
    /// Of two with the same name the last counts.
    pub(super) fn new(mut labels: Vec<ExternalLabel>) -> Self {
        labels.reverse();
        labels.sort_by(|one, other| one.name.cmp(&other.name));
        labels.dedup_by(|next, kept| next.name == kept.name);
        Self(labels)
    }

    /// The matchers that can be applied to the series in blocks, and whether those are not all.
    pub(super) fn within(&self, matchers: &[Matcher]) -> (Vec<Matcher>, bool) {
        let is_within = |matcher: &&Matcher| {
            !self.0.iter().any(|label| label.name.as_bytes() == matcher.name())
        };
        let within: Vec<Matcher> = matchers.iter().filter(is_within).cloned().collect();
        let is_part = within.len() < matchers.len();
        (within, is_part)
    }

    /// A series' labels with these added. What the series itself has counts.
    pub(super) fn add<'l>(&self, labels: &'l Labels, into: &'l mut Labels) -> &'l Labels {
        if self.0.is_empty() {
            return labels;
        }
        into.clear();
        let mut external = self.0.iter().peekable();
        for (name, value) in labels.iter() {
            while let Some(label) = external.next_if(|label| label.name.as_bytes() <= name) {
                if label.name.as_bytes() < name {
                    into.push(label.name.as_bytes(), label.value.as_bytes());
                }
            }
            into.push(name, value);
        }
        external.for_each(|label| into.push(label.name.as_bytes(), label.value.as_bytes()));
        into
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Operator;

    fn external(texts: &[&str]) -> ExternalLabels {
        ExternalLabels::new(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    fn added(external: &ExternalLabels, labels: &[(&str, &str)]) -> String {
        let (mut own, mut into) = (Labels::default(), Labels::default());
        labels.iter().for_each(|(name, value)| own.push(name.as_bytes(), value.as_bytes()));
        let text = |(name, value): (&[u8], &[u8])| {
            format!("{}={} ", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        };
        external.add(&own, &mut into).iter().map(text).collect()
    }

    #[test]
    fn they_are_added_in_order_where_the_series_has_no_such_label() {
        let external = external(&["c=3", "a=1", "z=9", "b=2", "a=0"]);
        assert_eq!(
            added(&external, &[("aa", "x"), ("b", "own"), ("d", "")]),
            "a=0 aa=x b=own c=3 d= z=9 "
        );
        assert_eq!(added(&external, &[]), "a=0 b=2 c=3 z=9 ");
        assert_eq!(added(&ExternalLabels::default(), &[("q", "1")]), "q=1 ");
    }

    #[test]
    fn their_matchers_are_not_for_blocks() {
        let matcher =
            |name: &str| Matcher::new(name.as_bytes(), Operator::Equal, &b"1"[..]).unwrap();
        let external = external(&["a=1"]);
        let (within, is_part) = external.within(&[matcher("b"), matcher("a")]);
        assert_eq!((within.len(), within[0].name(), is_part), (1, &b"b"[..], true));
        assert!(!external.within(&[matcher("b")]).1);
    }

    #[test]
    fn a_label_is_a_name_and_a_value() {
        for text in ["", "a", "=b", "a="] {
            assert_eq!(text.parse::<ExternalLabel>(), Err(ExternalLabelError), "{text}");
        }
        let label: ExternalLabel = "a=b=c".parse().unwrap();
        assert_eq!((&*label.name, &*label.value), ("a", "b=c"));
    }
}
