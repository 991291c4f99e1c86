//! Fields that an answer has because of its path alone.
//!
//! They are put into what is kept of a file, once, so that a request pays nothing for them.

use http::header::{HeaderMap, HeaderName, HeaderValue};

/// A field for the paths that begin in one way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRule {
    /// How the decoded path begins, without the first slash: nothing is the start of every path.
    pub beneath: Vec<u8>,
    /// The name of the field.
    pub name: HeaderName,
    /// What it says.
    pub value: HeaderValue,
}

/// The fields for all paths of a site. Of two rules for the same field, the later one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldRules(Vec<FieldRule>);

impl FieldRules {
    /// These rules, in this order.
    #[must_use]
    pub const fn new(rules: Vec<FieldRule>) -> Self {
        Self(rules)
    }

    /// Adds the fields that a decoded path has.
    pub(crate) fn add_to(&self, path: &[u8], headers: &mut HeaderMap) {
        for rule in self.0.iter().filter(|rule| path.starts_with(&rule.beneath)) {
            headers.insert(&rule.name, rule.value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{CACHE_CONTROL, CONTENT_LENGTH};

    use super::*;

    #[test]
    fn of_the_rules_for_a_path_the_last_one_holds() {
        let rule = |beneath: &str, value| FieldRule {
            beneath: beneath.into(),
            name: CACHE_CONTROL,
            value: HeaderValue::from_static(value),
        };
        let rules = FieldRules::new(vec![rule("", "no-cache"), rule("assets/", "max-age=60")]);
        for (path, value) in [
            ("", "no-cache"),
            ("a", "no-cache"),
            ("assets", "no-cache"),
            ("assets/a", "max-age=60"),
        ] {
            let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(1))]);
            rules.add_to(path.as_bytes(), &mut headers);
            assert_eq!((headers.len(), &headers[CACHE_CONTROL]), (2, &value.parse().unwrap()));
        }
    }
}
