//! One run of a bench: how often, who takes part and in which order, what came of it.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::files;
use crate::peers::Build;
use crate::report::Report;

/// What every bench is given.
#[derive(Debug)]
pub(crate) struct Run {
    pub rounds: u32,
    pub old: Option<PathBuf>,
    pub only: Vec<String>,
    pub report: Report,
}

impl Run {
    /// These peers and the builds of `underpass`, as far as `--only` names them.
    pub(crate) fn field<T>(
        &self,
        peers: impl IntoIterator<Item = T>,
        underpass: impl Fn(Build) -> T,
        name: impl Fn(&T) -> &'static str,
    ) -> Result<Vec<T>> {
        let builds = Build::all(self.old.as_deref())?;
        let mut all: Vec<T> = peers.into_iter().chain(builds.into_iter().map(underpass)).collect();
        all.retain(|one| self.is_named(name(one)));
        ensure!(!all.is_empty(), "--only leaves no competitor");
        Ok(all)
    }

    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// Makes sure that a file is in the page cache; `who` is next.
    pub(crate) fn warm(&mut self, path: &Path, who: &str) -> Result<()> {
        let reads = files::warm(path)?;
        if reads > 0 {
            let line = format!(
                "parts of {} were evicted and read back before {who}'s turn",
                path.file_name().unwrap_or_default().display()
            );
            self.report.line(&line);
        }
        Ok(())
    }
}

/// All of them, beginning with another one in each round and backwards in every other, so that
/// none always follows the same one: what comes right after a C loop's process pays a tenth more.
pub(crate) fn turns<T>(all: &[T], round: u32) -> impl Iterator<Item = &T> {
    let mut turns: Vec<&T> = all.iter().collect();
    turns.rotate_left(round as usize % all.len().max(1));
    if round % 2 == 1 {
        turns.reverse();
    }
    turns.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_begin_with_another_one_in_each_round_and_leave_no_one_out() {
        let round = |n| turns(&['a', 'b', 'c'], n).collect::<String>();
        assert_eq!([round(0), round(1), round(2), round(3)], ["abc", "acb", "cab", "cba"]);
        assert_eq!(turns(&[0; 0], 3).count(), 0);
    }
}
