//! What a report says in one line.

use underpass_measure::Report;

/// The totals: by reference, copied, unknown, other.
pub(crate) fn totals(report: &Report) -> [u64; 4] {
    let total = &report.total;
    [total.by_reference_bytes, total.copied_bytes, total.unknown_bytes, total.other_bytes]
}
