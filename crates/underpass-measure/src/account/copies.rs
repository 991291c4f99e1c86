//! Which of the bytes that left are references.

use crate::evidence::{Lent, Origin, Pages};

/// Whether these bytes are references to pages that somebody else has.
///
/// Pages of a file or of a process are never copies: the kernel copies into its own pages. (A Unix
/// socket does not mark them as lent.) `passes_kernel_pages` says that the sender's own input was
/// in pages of the kernel, as a socket's may be: then a lent one is that input, and otherwise a
/// copy next to lent pages.
pub(crate) fn is_reference(pages: &Pages, passes_kernel_pages: bool) -> bool {
    match (pages.origin, pages.lent) {
        (Origin::PageCache { .. } | Origin::Anonymous, _) => true,
        (Origin::Kernel, Lent::Shared | Lent::ZeroCopy) => passes_kernel_pages,
        (Origin::Kernel, Lent::No) | (Origin::Linear, _) => false,
    }
}
