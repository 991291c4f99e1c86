//! The findings as text, as JSON, or as a page.
//!
//! Whether a page can be written is tried before anything is measured, and it appears under its
//! name when it is whole.

#[cfg(feature = "html")]
use std::io::{self, Write};
#[cfg(feature = "html")]
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use underpass_measure::claims::{self, Claim};
use underpass_measure::compare::report::Report;
use underpass_measure::compare::table;
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
            use std::os::unix::fs::MetadataExt;

            let refused = || format!("{} cannot be written", path.display());
            if let Ok(there) = path.metadata() {
                anyhow::ensure!(!there.is_dir(), "{}: it is a directory", refused());
                anyhow::ensure!(there.is_file(), "{}: it is not a regular file", refused());
                let compared = wanted.file.as_ref().and_then(|file| file.metadata().ok());
                let is_compared =
                    compared.is_some_and(|it| (it.dev(), it.ino()) == (there.dev(), there.ino()));
                anyhow::ensure!(!is_compared, "{}: it is the file to compare", refused());
            }
            tempfile::tempfile_in(directory(path)).with_context(refused)?;
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
            Self::Page(path) => write_page(path, findings)
                .with_context(|| format!("{} cannot be written", path.display())),
        }
    }
}

fn text(findings: &Findings) -> String {
    let Findings { report, eyes, claims } = findings;
    let mut text = table::render(report, eyes.as_ref());
    if let Some(claims) = claims {
        text.push_str("\nWhat textbooks say, and what this machine shows\n\n");
        text.push_str(&claims::render(claims));
    }
    text
}

#[cfg(feature = "html")]
fn write_page(path: &Path, findings: &Findings) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let Findings { report, eyes, claims } = findings;
    let page = underpass_measure::page::render(report, eyes.as_ref(), claims.as_deref());
    let readable = std::fs::Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(directory(path))?;
    file.write_all(page.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

/// Where a page's file is made.
#[cfg(feature = "html")]
fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}
