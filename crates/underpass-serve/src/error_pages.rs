//! A site's own pages for errors, in place of the text.
//!
//! They say what is wrong and do not represent what was asked for: the status stays, and
//! so do the fields that belong to it, such as Allow; they have no validators and no parts.
//!
//! Source: RFC 9110 §8.8 (validators are of the selected representation), §14.2 (Range is for a
//! 200), §15.5.

use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::answer::Answer;
use crate::lookup::{FilePath, FilePathError};
use crate::representation::Representation;

/// The page for one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorPage {
    status: StatusCode,
    path: FilePath,
}

/// What is wrong with the page for a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorPageError {
    /// Not two words.
    #[error("give 'STATUS PATH', such as '404 /404.html'")]
    Words,
    /// Not the status of an error.
    #[error("the status is one from 400 to 599")]
    Status,
    /// Not a path.
    #[error(transparent)]
    Path(#[from] FilePathError),
}

impl FromStr for ErrorPage {
    type Err = ErrorPageError;

    fn from_str(text: &str) -> Result<Self, ErrorPageError> {
        let words = text.trim_ascii().split_once(|it: char| it.is_ascii_whitespace());
        let (status, path) = words.ok_or(ErrorPageError::Words)?;
        let status = status.parse().ok().filter(is_error).ok_or(ErrorPageError::Status)?;
        Ok(Self { status, path: path.trim_ascii_start().parse()? })
    }
}

fn is_error(status: &StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// The error pages of a site. Of two for one status, the later one holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorPages(Vec<ErrorPage>);

impl ErrorPages {
    /// These.
    #[must_use]
    pub const fn new(pages: Vec<ErrorPage>) -> Self {
        Self(pages)
    }

    /// Where the page for a status is.
    pub(crate) fn of(&self, status: StatusCode) -> Option<&FilePath> {
        self.0.iter().rev().find(|page| page.status == status).map(|page| &page.path)
    }

    /// Where they are.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &FilePath> {
        self.0.iter().map(|page| &page.path)
    }
}

/// An error with a page in place of its text.
pub(crate) fn with_page(mut error: Answer, page: &Arc<Representation>) -> Answer {
    let whole = Answer::whole(page);
    // Its length may be unknown.
    error.headers.remove(CONTENT_LENGTH);
    for name in [CONTENT_TYPE, CONTENT_LENGTH] {
        if let Some(value) = whole.headers.get(&name) {
            error.headers.insert(name, value.clone());
        }
    }
    Answer { content: whole.content, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_pages_for_a_status_the_last_one_holds() {
        let pages = ["404 /a.html", "500 /b.html", "404  c d.html "];
        let pages = ErrorPages::new(pages.iter().map(|page| page.parse().unwrap()).collect());
        let path = |code: u16| Some(pages.of(StatusCode::from_u16(code).unwrap())?.to_string());
        assert_eq!(path(404).as_deref(), Some("/c d.html"));
        assert_eq!(path(500).as_deref(), Some("/b.html"));
        assert_eq!(path(403), None);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, error) in [
            ("", ErrorPageError::Words),
            ("404", ErrorPageError::Words),
            ("/404.html 404", ErrorPageError::Status),
            ("200 /a", ErrorPageError::Status),
            ("304 /a", ErrorPageError::Status),
            ("600 /a", ErrorPageError::Status),
            ("404 ../a", ErrorPageError::Path(FilePathError)),
            ("404 /a/", ErrorPageError::Path(FilePathError)),
        ] {
            assert_eq!(text.parse::<ErrorPage>(), Err(error), "{text}");
        }
    }
}
