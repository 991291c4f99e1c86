//! The findings as text, as JSON, or as a page.
//!
//! Whether a page can be written is tried before anything is measured.

#[cfg(feature = "html")]
use std::path::{Path, PathBuf};

use serde::Serialize;
use underpass_measure::claims::Claim;
use underpass_measure::compare::report::Report;
use underpass_measure::eyes::Eyes;

use super::CompareArguments;
use crate::exit::print;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Findings {
    #[serde(flatten)]
    pub(super) report: Report,
    pub(super) eyes: Option<Eyes>,
    pub(super) claims: Option<Vec<Claim>>,
}

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
            Self::Text => print(text(findings).as_bytes()),
            Self::Json => print((serde_json::to_string_pretty(findings)? + "\n").as_bytes()),
            #[cfg(feature = "html")]
            Self::Page(path) => write_page(path, findings),
        }
    }
}

fn text(findings: &Findings) -> String {
    let Findings { report, eyes, claims } = findings;
    report.text(eyes.as_ref(), claims.as_deref())
}

#[cfg(feature = "html")]
fn write_page(path: &Path, findings: &Findings) -> anyhow::Result<()> {
    let Findings { report, eyes, claims } = findings;
    let page = underpass_measure::page::render(report, eyes.as_ref(), claims.as_deref());
    crate::page::write(path, &page)
}
