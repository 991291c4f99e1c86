//! What becomes of the rows where the receiver discards.

use super::Table;
use crate::compare::report::Row;

impl Table {
    pub(super) fn with_a_receiver_that_discards(&mut self, group: &[&Row]) {
        if group.iter().all(|row| row.besides.discarded.is_none()) {
            return;
        }
        let title = "to a receiver that discards (MSG_TRUNC)";
        self.line(&format!("  {:<16}{title:>44}", ""));
        self.line(&format!(
            "  {:<16}{:>10}{:>13}{:>13}{:>14}",
            "", "GB/s", "sender s/GB", "receiv s/GB", "its copies"
        ));
        for row in group {
            let Some(discarded) = &row.besides.discarded else { continue };
            let line = format!(
                "  {:<16}{:>10}{:>13}{:>13}{:>14}",
                row.method.name(),
                self.decimal(&discarded.gb_per_s.median, 2),
                self.decimal(&discarded.sender_cpu_s_per_gb, 3),
                self.decimal(&discarded.receiver_cpu_s_per_gb, 3),
                self.decimal(&discarded.receiver_copies, 2),
            );
            self.line(&line);
        }
    }
}
