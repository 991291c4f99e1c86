//! The findings as text, as JSON, or as a page.
//!
//! Whether a page can be written is tried before anything is measured.

#[cfg(feature = "html")]
use std::path::PathBuf;

use underpass_measure::Findings;

use super::CompareArguments;
use crate::exit::print;

/// How they are printed.
#[derive(Debug)]
pub(super) enum Form {
    Text,
    Json,
    #[cfg(feature = "html")]
    Page(PathBuf),
}

impl Form {
    /// What was asked for.
    ///
    /// # Errors
    ///
    /// If the page could not be written.
    pub(super) fn of(wanted: &CompareArguments) -> anyhow::Result<Self> {
        #[cfg(feature = "html")]
        if let Some(path) = &wanted.html {
            crate::page::require_writable(path, wanted.file.as_deref())?;
            return Ok(Self::Page(path.clone()));
        }
        Ok(if wanted.json { Self::Json } else { Self::Text })
    }

    /// Tells.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub(super) fn write(&self, findings: &Findings) -> anyhow::Result<()> {
        match self {
            Self::Text => print(findings.text().as_bytes()),
            Self::Json => print((serde_json::to_string_pretty(findings)? + "\n").as_bytes()),
            #[cfg(feature = "html")]
            Self::Page(path) => crate::page::write(path, &findings.page()),
        }
    }
}
