//! What runs of their own say besides: software interrupts, the watched run, and a receiver that
//! discards.

use super::Table;
use crate::compare::report::Row;

impl Table {
    pub(super) fn what_else(&mut self, group: &[&Row]) {
        let discards = group.iter().any(|row| row.besides.discarded.is_some());
        if discards {
            self.line(&format!("  {:<42}{:>50}", "", "to a receiver that discards (MSG_TRUNC)"));
        }
        let mut head = format!("  {:<16}{:>13}{:>13}", "", "softirq s/GB", "watched GB/s");
        if discards {
            head += &format!("{:>14}{:>11}{:>11}{:>12}", "GB/s", "sender", "receiv", "its copies");
        }
        self.line(&head);
        for row in group {
            let softirq = self.decimal(&row.besides.softirq_s_per_gb, 3);
            let watched = self.decimal(&row.besides.watched_gb_per_s, 2);
            let mut line = format!("  {:<16}{softirq:>13}{watched:>13}", row.method.name());
            if let Some(discarded) = &row.besides.discarded {
                line += &format!(
                    "{:>14}{:>11}{:>11}{:>12}",
                    self.decimal(&discarded.gb_per_s.median, 2),
                    self.decimal(&discarded.sender_cpu_s_per_gb, 3),
                    self.decimal(&discarded.receiver_cpu_s_per_gb, 3),
                    self.decimal(&discarded.receiver_copies, 2),
                );
            }
            self.line(&line);
        }
    }
}
