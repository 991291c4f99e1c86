//! Everything that a comparison finds of one file, and what is drawn from it.

use serde::Serialize;

use crate::claims::{self, Claim};
use crate::compare::report::Report;
use crate::compare::{self, CompareError, Progress, Request, Specimen};
use crate::eyes::{self, Eyes, Wanted};

/// Bytes that are looked at, at most: several times a processor's caches.
const EYES_BYTES_MAX: u64 = 64 << 20;

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Findings {
    #[serde(flatten)]
    report: Report,
    eyes: Option<Eyes>,
    claims: Option<Vec<Claim>>,
}

impl Findings {
    /// Measures what is asked for. `progress` is told before each run; the comparison, the
    /// program's own eyes and the claims count their runs one after the other.
    ///
    /// # Errors
    ///
    /// [`CompareError`]. Claims that cannot be judged are among the findings, with why.
    pub fn of(
        specimen: &Specimen,
        request: &Request,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Self, CompareError> {
        let file = || claims::file(specimen.directory(), claims::FILE_BYTES);
        let file = request.claims.then(file);
        let mut report = compare::run(specimen, request, progress)?;
        let Request { bytes, repeats, cold, .. } = *request;
        let wanted = Wanted { bytes_max: bytes.min(EYES_BYTES_MAX), repeats, cold };
        let name = &report.conditions.file;
        let label = "file → the program's own eyes";
        let on = &mut |done, total| progress(Progress { done, total, label });
        let look = || eyes::run(&specimen.path(), name, &wanted, on);
        let failed = |source| CompareError::Run { label: format!("looking at {name}"), source };
        let eyes = request.eyes.then(look).transpose().map_err(failed)?;
        let claims = file.map(|file| {
            claims::run((specimen, request), &file, (&mut report, eyes.as_ref()), progress)
        });
        Ok(Self { report, eyes, claims })
    }

    /// As text for a terminal.
    #[must_use]
    pub fn text(&self) -> String {
        self.report.text(self.eyes.as_ref(), self.claims.as_deref())
    }

    /// As one self-contained page.
    #[cfg(feature = "html")]
    #[must_use]
    pub fn page(&self) -> String {
        crate::page::render(&self.report, self.eyes.as_ref(), self.claims.as_deref())
    }
}
