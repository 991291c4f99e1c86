//! What the query of a listing's target asks for: an order, a filter, a page, a form.
//!
//! What it does not understand counts as absent, as clients add what they like to a target.
//!
//! Source: WHATWG URL, "application/x-www-form-urlencoded parsing".

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::target;

/// What is asked for of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    pub(super) sort: Sort,
    pub(super) is_descending: bool,
    /// What names have in them; empty for all.
    pub(super) filter: String,
    /// From 1; 0 is a page that there is not.
    pub(super) page: usize,
    pub(super) is_json: bool,
}

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    Size,
    Modified,
}

impl Sort {
    pub(super) const ALL: [Self; 3] = [Self::Name, Self::Size, Self::Modified];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Modified => "modified",
        }
    }

    /// Whether people who sort by it look for what is at its end: the largest, the newest.
    const fn is_descending_first(self) -> bool {
        !matches!(self, Self::Name)
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            sort: Sort::Name,
            is_descending: false,
            filter: String::new(),
            page: 1,
            is_json: false,
        }
    }
}

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        let mut asked = Self::default();
        for (key, value) in pairs(query) {
            match &*key {
                "sort" => {
                    let known = Sort::ALL.into_iter().find(|sort| sort.word() == value);
                    asked.sort = known.unwrap_or(Sort::Name);
                }
                "order" => asked.is_descending = value == "desc",
                "q" => asked.filter = value.into_owned(),
                // A form sends an empty field too.
                "page" if value.is_empty() => asked.page = 1,
                "page" => asked.page = value.parse().unwrap_or(0),
                "json" => asked.is_json = true,
                _ => {}
            }
        }
        asked
    }

    /// The same of another page.
    pub(super) fn at_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// The same from its start, sorted by this; the other way round if it already is.
    pub(super) fn sorted_by(&self, sort: Sort) -> Self {
        let is_descending =
            if self.sort == sort { !self.is_descending } else { sort.is_descending_first() };
        Self { sort, is_descending, page: 1, ..self.clone() }
    }

    /// The same from its start, with all names.
    pub(super) fn unfiltered(&self) -> Self {
        Self { filter: String::new(), page: 1, ..self.clone() }
    }

    /// A reference to it from the directory, without what is the default.
    pub(super) fn href(&self) -> String {
        let mut pairs = Vec::new();
        if self.sort != Sort::Name {
            pairs.push(format!("sort={}", self.sort.word()));
        }
        if self.is_descending {
            pairs.push("order=desc".to_owned());
        }
        if !self.filter.is_empty() {
            pairs.push(format!("q={}", target::encode(self.filter.as_bytes())));
        }
        if self.page != 1 {
            pairs.push(format!("page={}", self.page));
        }
        if self.is_json {
            pairs.push("json".to_owned());
        }
        if pairs.is_empty() { "./".to_owned() } else { format!("?{}", pairs.join("&")) }
    }
}

/// The pairs of a query, decoded; a key alone has an empty value.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key), decoded(value))
    })
}

fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned().into();
    }
    percent_decode(text.as_bytes()).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_written_back_without_what_is_the_default() {
        for (query, href) in [
            ("", "./"),
            ("sort=name&order=asc&page=1&q=", "./"),
            ("sort=size", "?sort=size"),
            ("page=3&order=desc&sort=modified", "?sort=modified&order=desc&page=3"),
            ("q=a+b%2Bc%26d", "?q=a%20b%2Bc%26d"),
            ("q=caf%C3%A9", "?q=caf%C3%A9"),
            ("q=%ff", "?q=%EF%BF%BD"),
            ("json", "?json"),
            ("json=1&page=2", "?page=2&json"),
            ("page=", "./"),
            ("page=0", "?page=0"),
            ("page=-1", "?page=0"),
            ("page=99999999999999999999999", "?page=0"),
            ("sort=colour&order=up&utm_source=x", "./"),
            ("sort=size&sort=name", "./"),
            ("&&=&q", "./"),
        ] {
            assert_eq!(Query::parse(query).href(), href, "{query}");
        }
    }

    #[test]
    fn a_column_is_turned_round_and_another_begins_at_its_interesting_end() {
        let by_name = Query::parse("q=x&page=4");
        assert_eq!(by_name.sorted_by(Sort::Name).href(), "?order=desc&q=x");
        assert_eq!(by_name.sorted_by(Sort::Size).href(), "?sort=size&order=desc&q=x");
        let largest = by_name.sorted_by(Sort::Size);
        assert_eq!(largest.sorted_by(Sort::Size).href(), "?sort=size&q=x");
        assert_eq!(largest.sorted_by(Sort::Name).href(), "?q=x");
        assert_eq!(largest.at_page(2).href(), "?sort=size&order=desc&q=x&page=2");
        assert_eq!(largest.unfiltered().href(), "?sort=size&order=desc");
    }
}
