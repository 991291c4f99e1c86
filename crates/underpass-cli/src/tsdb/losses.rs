//! What could not be read, as standard error has it: a line each up to a limit, then a count.

use std::fmt::Display;

use anyhow::ensure;

use crate::exit::say;

/// Lines before the others are only counted.
const LINES_MAX: u64 = 20;

/// What a command could not read.
#[derive(Debug)]
pub(crate) struct Losses {
    /// The command's name.
    command: &'static str,
    count: u64,
}

impl Losses {
    pub(crate) const fn of(command: &'static str) -> Self {
        Self { command, count: 0 }
    }

    /// Tells of damages or losses.
    pub(crate) fn tell<T: Display>(&mut self, losses: impl IntoIterator<Item = T>) {
        for loss in losses {
            self.count += 1;
            if self.count <= LINES_MAX {
                say(&format!("underpass tsdb {}: {loss}", self.command));
            }
        }
    }

    /// Counts more that are not told one by one.
    pub(crate) const fn add(&mut self, count: u64) {
        self.count += count;
    }

    /// How many there were.
    ///
    /// # Errors
    ///
    /// If there was one.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        if self.count > LINES_MAX {
            let further = self.count - LINES_MAX;
            say(&format!(
                "underpass tsdb {}: and {further} more; 'tsdb verify' names all",
                self.command
            ));
        }
        ensure!(self.count == 0, "there is damage, which is named above");
        Ok(())
    }
}
