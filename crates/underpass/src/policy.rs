//! Who chooses the method: the engine, or the caller, with or without a fallback.

use crate::method::Method;

/// How the methods of a [`Transfer`](crate::Transfer), or of the writes of a
/// [`Stream`](crate::Stream), are chosen.
///
/// In a transfer it governs files and streams. Memory pieces of a chain that also has others (a
/// response's head) are always sent by plain calls; a transfer of nothing but memory is governed
/// too.
///
/// In writes it governs file-backed slices, which can go by [`Method::Sendfile`] or
/// [`Method::Copy`]. `Auto` copies slices of up to [`COPY_MAX_BYTES`](crate::COPY_MAX_BYTES) and
/// refers to longer ones. Preferring a third method is the same as `Auto`; demanding one is
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) at the first file-backed slice.
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
