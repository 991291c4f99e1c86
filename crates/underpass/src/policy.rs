//! Who chooses the method: the engine, or the caller with or without a way out.

use crate::method::Method;

/// How a transfer's methods are chosen.
///
/// It governs files and streams. Memory pieces of a chain that also has others (a response's
/// head) are always sent by plain calls; a transfer of nothing but memory is governed too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// By the kinds of the two ends and the length.
    #[default]
    Auto,
    /// This method first, then what [`Policy::Auto`] would try. The ledger records that it was
    /// not used, and why.
    Prefer(Method),
    /// This method or an error: `Unsupported`, with nothing moved where the kinds alone rule
    /// it out.
    Only(Method),
}
