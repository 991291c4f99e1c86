//! What the program's own eyes were measured to see, as a block of the table.

use super::Table;
use crate::compare::report::Cache;
use crate::eyes::{Eyes, Look, TASKS};
use crate::figure::Figure;
use crate::words;

impl Table {
    /// read(2) and a mapping, task by task.
    pub(super) fn eyes(&mut self, eyes: &Eyes) {
        self.line("");
        self.line(&format!(
            "file → the program's own eyes, read(2) against a mapping: {}",
            words::size(eyes.bytes)
        ));
        self.line(&format!(
            "    {:<9}{:>8}{:>7}{:>7}{:>10}{:>11}{:>8}{:>7}{:>7}",
            "", "GB/s", "min", "max", "CPU s/GB", "a piece", "faults", "major", "disk",
        ));
        for cache in [Cache::Warm, Cache::Cold] {
            for (task, order) in TASKS {
                let Some((read, mapping)) = eyes.pair(task, order, cache) else { continue };
                self.line(&format!("  {} {}, {cache}", order.name(), task.name()));
                self.look(read);
                self.look(mapping);
            }
        }
    }

    fn look(&mut self, look: &Look) {
        let piece = self
            .cell(&look.piece_ns, |value| words::scaled(value, 1000.0, &["ns", "µs", "ms", "s"]));
        let line = format!(
            "    {:<9}{:>8}{:>7}{:>7}{:>10}{piece:>11}{:>8}{:>7}{:>7}",
            look.way.name(),
            self.decimal(&look.gb_per_s.median, 2),
            self.decimal(&look.gb_per_s.min, 2),
            self.decimal(&look.gb_per_s.max, 2),
            self.decimal(&look.cpu_s_per_gb, 3),
            self.whole(&look.minor_faults),
            self.whole(&look.major_faults),
            self.share_of(&look.disk_bytes, look.bytes),
        );
        self.line(&line);
    }

    /// `100 %`: of the bytes looked at, how many were fetched.
    fn share_of(&mut self, part: &Figure, whole: u64) -> String {
        let whole = crate::figure::float(whole.max(1));
        self.cell(part, |value| format!("{:.0} %", 100.0 * value / whole))
    }
}
